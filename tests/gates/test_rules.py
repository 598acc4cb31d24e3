from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from quantkit.core.errors import GateFailed, NothingEvaluated
from quantkit.gates import Rule, gate
from tests.gates.builders import comparison, row

BOTH = comparison(
    row("openvino", "fp32", drop={"top1": 0.0}, agreement=1.0, sqnr_db=None, speedup=1.0),
    row("openvino", "int8"),
    row("onnxruntime", "int8", speedup=0.8),
)


@pytest.mark.parametrize(
    ("rule", "outcomes"),
    [
        ({"metric": "drop.top1", "max": 0.005}, ["pass", "pass"]),
        ({"metric": "drop.top1", "max": 0.004}, ["pass", "pass"]),
        ({"metric": "drop.top1", "max": 0.003}, ["fail", "fail"]),
        ({"metric": "speedup", "min": 1.5}, ["pass", "fail"]),
        ({"metric": "speedup", "min": 1.5, "level": "warn"}, ["pass", "warn"]),
        ({"metric": "speedup", "min": 1.5, "target": "openvino"}, ["pass"]),
        ({"metric": "agreement", "min": 0.995, "target": "open*"}, ["fail"]),
        ({"metric": "latency_ms.p50", "max": 2, "precision": "*"}, ["pass"] * 3),
        ({"metric": "top1", "min": 0.9, "precision": "fp32"}, ["pass"]),
        ({"metric": "metrics.top1.low", "min": 0.89, "target": "openvino"}, ["fail"]),
        ({"metric": "sqnr_db", "min": 28, "max": 29, "target": "openvino"}, ["fail"]),
        ({"metric": "size_bytes", "max": 1000, "target": "openvino"}, ["pass"]),
        ({"metric": "speedup", "min": 1.0, "precision": "fp32"}, ["no match"]),  # FP32 against itself says nothing
        ({"metric": "drop.top5", "max": 0.01}, ["no match"]),
        ({"metric": "speed", "min": 1}, ["no match"]),
        ({"metric": "latency_ms", "max": 1}, ["no match"]),
        ({"metric": "target", "max": 1}, ["no match"]),
        ({"metric": "speedup", "min": 1, "target": "tensorrt"}, ["no match"]),
    ],
)
def test_rules(rule: dict[str, object], outcomes: list[str]) -> None:
    result = gate(BOTH, [Rule(**rule)])  # type: ignore[arg-type]
    assert [v.outcome for v in result.verdicts] == outcomes
    expected = 5 if "no match" in outcomes else 1 if "fail" in outcomes else 0
    assert result.exit_code == expected


def test_a_rule_without_a_match_goes_before_a_failure() -> None:
    result = gate(BOTH, [Rule(metric="drop.top1", max=0.0), Rule(metric="typo", max=1)])
    assert result.exit_code == 5
    with pytest.raises(NothingEvaluated, match=r"The gate rule .*\(.*typo.*\) for .* matched nothing"):
        result.raise_for_failure()


def test_no_rules_evaluate_nothing() -> None:
    assert gate(BOTH, []).exit_code == 5
    with pytest.raises(NothingEvaluated):
        gate(BOTH, []).raise_for_failure()


def test_a_failure_names_measured_and_limit() -> None:
    with pytest.raises(GateFailed, match=r"Top-1 lost is 0\.40 points.* Top-1 lost ≤ 0\.30 points \(drop\.top1\)"):
        gate(BOTH, [Rule(metric="drop.top1", max=0.003)]).raise_for_failure()
    gate(BOTH, [Rule(metric="drop.top1", max=0.01)]).raise_for_failure()


def test_outputs_equal_to_the_bit_pass_any_sqnr() -> None:
    result = gate(comparison(row("openvino", "int8", sqnr_db=None)), [Rule(metric="sqnr_db", min=60)])
    assert result.passed


@pytest.mark.parametrize(
    "values",
    [
        {"metric": "speedup"},
        {"metric": "agreement", "min": 98.5},
        {"metric": "drop.top1", "max": 0.5},
        {"metric": "metrics.top1.value", "min": 85},
        {"metric": "speedup", "min": math.nan},
        {"metric": "speedup", "min": 1, "level": "fatal"},
        {"metric": "speedup", "mim": 1},
    ],
)
def test_rules_that_cannot_be_meant_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Rule(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min": 0.9, "max": 0.5}, "min 0.9 is above max 0.5"),
        ({"min": True}, "valid number"),
        ({"min": "0.9"}, "valid number"),
        ({"against": "fp32", "max_fall": True}, "neither a number nor a percentage"),
        ({"min": 0.9, "strict": 1}, "valid boolean"),
    ],
)
def test_limits_that_nothing_meets_and_values_of_another_type_are_refused(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        Rule(metric="agreement", **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"metric": "agreement", "target": "openvinno"}, "no row has this target and precision"),
        ({"metric": "agrement"}, "no row of this target and precision has this figure"),
        ({"metric": "executed_precision"}, "no row of this target and precision has this figure"),
        ({"metric": "agreement", "statistic": "pessimistic"}, "the figure has no interval here"),
    ],
)
def test_a_rule_without_a_match_says_what_is_missing(rule: dict[str, object], why: str) -> None:
    (verdict,) = gate(BOTH, [Rule(min=0.5, **rule)]).verdicts  # type: ignore[arg-type]
    assert (verdict.outcome, verdict.reason) == ("no match", why)
