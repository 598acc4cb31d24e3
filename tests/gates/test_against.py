"""Rules against FP32, FP16 and a baseline; intervals, noise, and other machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from quantkit.core.comparison import Comparison, Environment, Row
from quantkit.core.errors import BadInput, GateFailed, NothingEvaluated
from quantkit.gates import Rule, gate
from quantkit.gates.document import gate_document
from quantkit.pipeline.run_files import load_comparison, save_comparison
from quantkit.reports.content.verdict import judge
from quantkit.reports.wording import measured
from tests.gates.builders import comparison, latency, row, run


def machine(cpu: str, gpu: str = "") -> Environment:
    return Environment(quantkit="0", python="3", platform="x", cpu=cpu, cores=2, packages={}, measured="then", gpu=gpu)


def outcome(rule: dict[str, Any], of: Comparison, baseline: Comparison | None = None) -> str:
    (verdict,) = gate(of, [Rule(**rule)], baseline).verdicts
    return verdict.outcome


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ({"metric": "latency_ms.p50", "against": "fp16", "max_rise": 0}, "pass"),
        ({"metric": "latency_ms.p50", "against": "fp16", "max_rise": 0, "precision": "fp32"}, "fail"),
        ({"metric": "latency_ms.p50", "against": "fp32", "max_rise": "0 %"}, "pass"),
        ({"metric": "speedup", "against": "fp16", "max_fall": "0%"}, "pass"),
        ({"metric": "speedup", "against": "fp16", "max_rise": "10%"}, "fail"),
        ({"metric": "size_bytes", "against": "fp32", "max_rise": 0}, "pass"),
        ({"metric": "top1", "against": "fp32", "max_fall": 0.005, "max_rise": 0.005}, "pass"),
    ],
)
def test_against_another_precision(rule: dict[str, Any], wanted: str) -> None:
    assert outcome(rule, run()) == wanted


@pytest.mark.parametrize(
    ("rule", "now", "before", "wanted"),
    [
        ({"metric": "top1", "max_fall": 0.005}, run(top1=0.896), run(), "pass"),
        ({"metric": "top1", "max_fall": 0.003}, run(top1=0.896), run(), "fail"),
        ({"metric": "top1", "max_fall": 0.003, "level": "warn"}, run(top1=0.896), run(), "warn"),
        ({"metric": "top1", "max_fall": 0.003}, run(top1=0.92), run(), "pass"),
        ({"metric": "top1", "max_fall": 0.01, "statistic": "pessimistic"}, run(), run(), "fail"),
        ({"metric": "latency_ms.p50", "max_rise": "5 %"}, run(1.04), run(), "pass"),
        ({"metric": "latency_ms.p50", "max_rise": "5 %"}, run(1.1), run(), "fail"),
        ({"metric": "latency_ms.p50", "max_rise": 0.2}, run(1.1), run(), "pass"),
        ({"metric": "latency_ms.p50", "max_rise": "5 %"}, run(1.1, spread=0.1), run(spread=0.1), "inconclusive"),
        ({"metric": "latency_ms.p50", "max_rise": "5 %"}, run(1.5, spread=0.1), run(spread=0.1), "fail"),
        (
            {"metric": "latency_ms.p50", "max_rise": "5 %", "strict": True},
            run(1.1, spread=0.1),
            run(spread=0.1),
            "fail",
        ),
        ({"metric": "latency_ms.p50", "max_rise": "5 %", "precision": "fp16"}, run(1.5), run(), "pass"),
    ],
)
def test_against_a_baseline(rule: dict[str, Any], now: Comparison, before: Comparison, wanted: str) -> None:
    assert outcome({"against": "baseline"} | rule, now, before) == wanted


def test_accuracy_has_no_noise_to_hide_in() -> None:
    """A fall inside the interval still breaks a rule that names a smaller one: the samples are the same."""
    assert outcome({"metric": "top1", "against": "baseline", "max_fall": 0.001}, run(top1=0.895), run()) == "fail"


@pytest.mark.parametrize(
    ("metric", "limit"), [("latency_ms.p50", "max_rise"), ("latency_graph_ms.p50", "max_rise"), ("speedup", "max_fall")]
)
def test_other_hardware_is_said_and_fails_nothing_unless_strict(metric: str, limit: str) -> None:
    before = run(environment=machine("another"))
    rule = {"metric": metric, "against": "baseline", limit: "5 %"}
    result = gate(run(9.0), [Rule(**rule)], before)
    assert [v.outcome for v in result.verdicts] == ["not comparable"]
    assert "another, 2 cores" in result.verdicts[0].reason
    assert result.exit_code == 0
    strict = gate(run(9.0), [Rule(**rule, strict=True)], before)
    assert strict.exit_code == 5
    with pytest.raises(NothingEvaluated, match="other hardware"):
        strict.raise_for_failure()


def test_a_gpu_is_hardware_and_its_driver_is_not() -> None:
    rule = {"metric": "latency_ms.p50", "against": "baseline", "max_rise": "5 %"}
    now = run(environment=machine("c", "H200, driver 580.1"))
    assert outcome(rule, now, run(environment=machine("c", "H200, driver 570.2"))) == "pass"
    assert outcome(rule, now, run(environment=machine("c", "L4, driver 580.1"))) == "not comparable"


def test_accuracy_is_compared_across_machines_but_not_across_data() -> None:
    rule = {"metric": "top1", "against": "baseline", "max_fall": 0.005}
    assert outcome(rule, run(), run(environment=machine("another"))) == "pass"
    assert outcome(rule, run(), run(data_sha256="another")) == "not comparable"


def test_a_row_the_baseline_lacks_is_no_match_where_it_is_all_there_is() -> None:
    rule = {"metric": "latency_ms.p50", "against": "baseline", "max_rise": "5 %", "target": "tensorrt"}
    now = comparison(row("tensorrt", "int8", latency_ms=latency(1.0)))
    result = gate(now, [Rule(**rule)], run())
    assert result.exit_code == 5
    assert "nothing to be compared with" in result.verdicts[0].reason


def test_a_baseline_that_is_not_given_is_an_error() -> None:
    with pytest.raises(BadInput, match="--baseline"):
        gate(run(), [Rule(metric="top1", against="baseline", max_fall=0.01)])


@pytest.mark.parametrize(
    ("rule", "wanted", "value"),
    [
        ({"metric": "drop.top1", "max": 0.008}, "pass", 0.004),
        ({"metric": "drop.top1", "max": 0.008, "statistic": "pessimistic"}, "fail", 0.009),
        ({"metric": "top1", "min": 0.885, "statistic": "pessimistic"}, "fail", 0.88),
        ({"metric": "agreement", "min": 0.98, "statistic": "pessimistic"}, "pass", 0.98),
        ({"metric": "speedup", "min": 1.98, "statistic": "pessimistic"}, "fail", 2.0 * 0.99 / 1.01),
        ({"metric": "latency_ms.p50", "max": 1.0, "statistic": "pessimistic"}, "fail", 1.01),
    ],
)
def test_pessimistic_judges_the_bad_end(rule: dict[str, Any], wanted: str, value: float) -> None:
    (verdict,) = gate(run(), [Rule(**rule)]).verdicts
    assert (verdict.outcome, verdict.value) == (wanted, pytest.approx(value))


def test_pessimistic_matches_nothing_where_no_interval_was_measured() -> None:
    old = comparison(row("openvino", "int8"))
    assert gate(old, [Rule(metric="agreement", min=0.9, statistic="pessimistic")]).exit_code == 5


def test_the_margin_is_the_room_to_the_nearer_limit() -> None:
    (verdict,) = gate(run(), [Rule(metric="sqnr_db", min=28, max=40)]).verdicts
    assert (verdict.limit, verdict.margin) == (28, pytest.approx(2.0))
    before = run()
    (verdict,) = gate(run(1.1), [Rule(metric="latency_ms.p50", against="baseline", max_rise="5 %")], before).verdicts
    assert verdict.margin == pytest.approx(-0.05)
    with pytest.raises(GateFailed, match=r"p50 changed by \+0\.1 ms.*p50 rises at most 5 % against the baseline"):
        gate(run(1.1), [Rule(metric="latency_ms.p50", against="baseline", max_rise="5 %")], before).raise_for_failure()


@pytest.mark.parametrize(
    "values",
    [
        {"metric": "top1", "max_fall": 0.01},
        {"metric": "top1", "against": "fp32"},
        {"metric": "top1", "against": "fp32", "min": 0.9},
        {"metric": "top1", "against": "fp32", "max_fall": "1 %"},
        {"metric": "top1", "against": "fp32", "max_fall": 0.5},
        {"metric": "latency_ms.p50", "against": "fp32", "max_rise": "five"},
        {"metric": "latency_ms.p50", "against": "fp32", "max_rise": -1},
        {"metric": "latency_ms.p50", "against": "yesterday", "max_rise": 1},
        {"metric": "sqnr_db", "min": 20, "statistic": "pessimistic"},
    ],
)
def test_rules_that_cannot_be_meant_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Rule(**values)


@pytest.mark.parametrize("fall", ["0 %", "5 %", 1])
def test_an_sqnr_that_is_no_longer_infinite_has_fallen(fall: Any) -> None:
    exact = comparison(*(r.model_copy(update={"sqnr_db": None}) for r in run().rows))
    rule = {"metric": "sqnr_db", "against": "baseline", "max_fall": fall}
    assert outcome(rule, exact, exact) == "pass"
    (verdict,) = gate(run(), [Rule(**rule)], exact).verdicts
    assert (verdict.outcome, measured(verdict)) == ("fail", "\N{MINUS SIGN}∞ dB")


def test_a_row_held_to_itself_matches_nothing() -> None:
    (verdict,) = gate(run(), [Rule(metric="latency_ms.p50", precision="fp32", against="fp32", max_rise=0)]).verdicts
    assert (verdict.outcome, verdict.reason) == ("no match", "there is no other row of it to hold to FP32")


def test_the_document_is_json_with_all_that_was_judged(tmp_path: Path) -> None:
    before, now = run(), run(1.1)
    now = save_comparison(now, tmp_path)
    rules = [
        Rule(metric="latency_ms.p50", against="baseline", max_rise="5 %"),
        Rule(metric="sqnr_db", min=20, precision="fp32"),
    ]
    document = json.loads(json.dumps(gate_document(gate(now, rules, before), now), allow_nan=False))
    first, second = document["rules"]
    assert (document["exit_code"], document["passed"]) == (5, False)
    assert first["outcome"] == "fail"
    assert (first["other"], first["measured"]) == (1.0, pytest.approx(0.1))
    assert (first["limit"], first["margin"]) == (pytest.approx(0.05), pytest.approx(-0.05))
    assert first["row"] == {"target": "openvino", "device": "CPU", "precision": "int8", "variant": "", "batch": 1}
    assert (second["outcome"], second["row"], second["measured"]) == ("no match", None, None)
    assert document["run"]["path"] == str(tmp_path)
    assert document["baseline"]["hardware"] == "c, 2 cores"


def test_a_method_that_changed_is_still_the_same_row() -> None:
    def of(variant: str) -> Comparison:
        rows: tuple[Row, ...] = run().rows
        return run().model_copy(update={"rows": tuple(r.model_copy(update={"variant": variant}) for r in rows)})

    assert outcome({"metric": "top1", "against": "baseline", "max_fall": 0.01}, of("mse"), of("entropy")) == "pass"


@pytest.mark.parametrize(("key", "value"), [("samples", None), ("added", 1)])
def test_a_baseline_of_another_version_may_be_just_that(key: str, value: object, tmp_path: Path) -> None:
    save_comparison(run(), tmp_path)
    file = tmp_path / "comparison.json"
    document = {k: v for k, v in (json.loads(file.read_text()) | {key: value}).items() if v is not None}
    file.write_text(json.dumps(document))
    with pytest.raises(BadInput, match=rf"of another version of quantkit \({key}: .*Make it again"):
        load_comparison(tmp_path)


def test_what_cannot_be_judged_for_one_reason_is_said_once() -> None:
    rows = run().rows
    two = comparison(*rows, *(r.model_copy(update={"target": "onnxruntime"}) for r in rows))
    there = two.model_copy(update={"environment": machine("another")})
    rule = Rule(metric="latency_ms.p50", against="baseline", max_rise=1.0, strict=True)
    assert judge(two, gate(two, [rule], there)).reason.count("cannot be judged") == 1
