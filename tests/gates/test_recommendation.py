"""What is recommended follows from figures and their spread, and says plainly when INT8 is not worth it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit.core.comparison import Change, Comparison, Interval, Row
from quantkit.gates import Rule, gate
from quantkit.gates.recommendation import recommend
from quantkit.gates.recommendation_words import recommendation_of, sentence
from quantkit.measure.disturbance import speedup_interval
from tests.gates.builders import comparison, latency, row

FINE = Change(lost=3, won=2, low=-0.002, high=0.004, p_value=1.0)
LOSS = Change(lost=40, won=5, low=0.01, high=0.05, p_value=1e-6)
LOAD = np.random.default_rng(0).lognormal(0, 0.5, 10)  # of each round, which all rows share


def timed(precision: str, p50: float, spread: float = 0.01, **values: Any) -> Row:
    """A row whose rounds vary by ``spread`` by themselves, and by LOAD together with all others."""
    own = np.exp(spread * np.array([1, -1, -1, 1, 1, -1, 1, -1, 1, -1]) * (1 if precision == "int8" else -1))
    rounds = p50 * LOAD * own
    return row(
        values.pop("target", "openvino"),
        precision,
        latency_ms=latency(p50, 0.5),
        rounds_ms=tuple(map(float, rounds)),
        **{
            "changes": {} if precision == "fp32" else {"top1": FINE},
            "speedup": 2.0 / p50,
            "executed_precision": {"fp32": "f32", "fp16": "f16"}.get(precision, "int8 9"),
            "sqnr_db": None if precision == "fp32" else 60.0 if precision == "fp16" else 35.0,
            "path": f"artifacts/openvino/{precision}/model.xml",
            "size_bytes": {"fp32": 4_000_000, "fp16": 2_000_000}.get(precision, 1_000_000),
        }
        | values,
    )


def said(of: Comparison) -> str:
    return sentence(recommend(of).overall, of)


def test_int8_that_is_faster_and_loses_nothing_is_shipped() -> None:
    of = comparison(timed("fp32", 2.0), timed("fp16", 1.9), timed("int8", 1.0))
    choice = recommend(of).overall
    assert (choice.row.precision, choice.outcome) == ("int8", "int8")
    assert said(of) == (
        "Ship INT8 on openvino: artifacts/openvino/int8/model.xml (1.00 MB), 2.00x FP32's speed, with no loss of top-1 "
        "beyond chance."
    )


@pytest.mark.parametrize(
    ("fp16", "int8", "shipped", "outcome"),
    [
        (1.0, 1.0, "fp16", "not worth it"),
        (1.0, 0.99, "fp16", "not worth it"),  # below CLEARLY
        (1.0, 0.97, "int8", "int8"),
        (1.0, 1.5, "fp16", "not worth it"),
        (2.0, 2.0, "fp32", "not worth it"),  # ties go to the more accurate
        (2.6, 2.4, "fp32", "not worth it"),
        (1.0, 0.8, "int8", "int8"),
    ],
)
def test_int8_has_to_beat_fp16_too(fp16: float, int8: float, shipped: str, outcome: str) -> None:
    of = comparison(timed("fp32", 2.0), timed("fp16", fp16), timed("int8", int8))
    choice = recommend(of).overall
    assert (choice.row.precision, choice.outcome) == (shipped, outcome)
    if outcome == "not worth it":
        as_good = "FP32 is not slower" if shipped == "fp32" else "FP16 is as accurate and not slower"
        assert said(of).startswith(
            f"{as_good} on openvino: INT8 is not worth it here, unless its size matters (1.00 MB"
        )
        assert f"Ship {shipped.upper()} on openvino: artifacts/openvino/{shipped}/model.xml" in said(of)


def test_what_is_faster_within_the_spread_alone_is_not() -> None:
    """Its p50 is lower by a fifth, but its rounds are apart by much more."""
    assert recommend(comparison(timed("fp32", 2.0), timed("int8", 1.6))).overall.outcome == "int8"
    noisy = comparison(timed("fp32", 2.0), timed("int8", 1.6, spread=1.0))
    assert recommend(noisy).overall.outcome == "not worth it"
    assert "FP32 is not slower, as far as the rounds can tell, on openvino: INT8 is not worth it here" in said(noisy)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ({"changes": {"top1": LOSS}, "drop": {"top1": 0.03}}, "it loses 3.00 points of top-1, which is more than"),
        ({"sqnr_db": 1.5}, "the worst output of INT8 is noise (1.5 dB)"),
    ],
)
def test_int8_that_is_faster_but_loses_is_a_matter_for_tune(loss: dict[str, Any], words: str) -> None:
    of = comparison(timed("fp32", 2.0), timed("fp16", 1.5), timed("int8", 0.5, **loss))
    of = of.model_copy(update={"source": Path("runs/it is"), "data": "/data/eval"})
    choice = recommend(of).overall
    assert (choice.row.precision, choice.outcome) == ("fp16", "tune")
    assert "INT8 is 3.00x as fast, but" in said(of)
    assert words in said(of)
    assert "`quantkit tune 'runs/it is' --data /data/eval --target openvino` could win it back" in said(of)
    slow = comparison(timed("fp32", 2.0), timed("fp16", 1.5), timed("int8", 1.6, **loss))
    assert recommend(slow).overall.outcome == "not worth it"
    assert "INT8 is not worth it here: INT8 is no faster, and" in said(slow)


def test_int8_by_name_only_is_said_and_not_shipped() -> None:
    of = comparison(timed("fp32", 2.0), timed("fp16", 1.0), timed("int8", 0.5, executed_precision="f16"))
    choice = recommend(of).overall
    assert (choice.row.precision, choice.outcome) == ("fp16", "by name only")
    assert "INT8 is that by name only here: no layer of it ran in INT8, but in f16." in said(of)
    unknown = comparison(timed("fp32", 2.0), timed("int8", 0.5, executed_precision="unknown"))
    assert recommend(unknown).overall.outcome == "int8"


def test_without_labels_it_says_what_it_judged_from() -> None:
    plain: dict[str, Any] = {"changes": {}, "metrics": {}, "drop": {}}
    of = comparison(timed("fp32", 2.0, **plain), timed("int8", 1.0, **plain))
    assert "99.0 % of the answers are FP32's, SQNR 35.0 dB; there is nothing to judge accuracy by" in said(of)
    of = comparison(timed("fp32", 2.0, agreement=None, **plain), timed("int8", 1.0, agreement=None, **plain))
    assert "SQNR 35.0 dB; there are no answers to judge accuracy by" in said(of)
    far = timed("int8", 1.0, agreement=None, **plain | {"sqnr_db": 12.0})
    assert recommend(comparison(timed("fp32", 2.0, agreement=None, **plain), far)).overall.outcome == "tune"


def test_each_target_and_batch_has_a_choice_and_the_fastest_at_the_smallest_batch_is_the_overall_one() -> None:
    of = comparison(
        timed("fp32", 2.0),
        timed("int8", 1.0),
        timed("fp32", 20.0, batch=8, speedup=1.0),
        timed("int8", 30.0, batch=8, speedup=0.7),
        timed("fp32", 0.8, target="tensorrt", device="cuda:0", speedup=1.0),
    )
    found = recommend(of)
    assert [(c.row.target, c.row.batch, c.row.precision, c.outcome) for c in found.each] == [
        ("openvino", 1, "int8", "int8"),
        ("openvino", 8, "fp32", "not worth it"),
        ("tensorrt", 1, "fp32", "not measured"),
    ]
    assert found.overall.row.target == "tensorrt"
    document = recommendation_of(of).model_dump(mode="json")
    assert document["overall"]["target"] == "tensorrt"
    assert [choice["int8"] for choice in document["choices"]] == ["int8", "not worth it", "not measured"]
    assert document["choices"][0]["path"] == "artifacts/openvino/int8/model.xml"
    assert "at batch 8" in document["choices"][1]["sentence"]


def test_of_several_methods_the_faster_one_is_named_and_ties_go_to_the_greater_sqnr() -> None:
    rows = timed("int8", 1.0, variant="minmax", sqnr_db=30.0), timed("int8", 1.01, variant="mse", sqnr_db=35.0)
    of = comparison(timed("fp32", 2.0), *rows)
    assert recommend(of).overall.row.variant == "mse"
    assert said(of).startswith("Ship INT8 (mse) on openvino")


@pytest.mark.parametrize(("p50", "spread", "shipped"), [(1.0, 0.01, "int8"), (1.6, 0.3, "fp32"), (1.98, 0.0, "fp32")])
def test_rows_of_older_files_are_judged_by_the_medians_of_their_rounds(p50: float, spread: float, shipped: str) -> None:
    fp32 = row("openvino", "fp32", latency_ms=latency(2.0, spread), speedup=1.0, sqnr_db=None)
    int8 = row("openvino", "int8", latency_ms=latency(p50, spread), executed_precision="int8")
    assert recommend(comparison(fp32, int8)).overall.row.precision == shipped


RULE = Rule(metric="recommended", min=1)


def test_a_gate_can_ask_for_it() -> None:
    fast = comparison(timed("fp32", 2.0), timed("int8", 1.0, variant="a"), timed("int8", 1.2, variant="b"))
    assert [v.outcome for v in gate(fast, [RULE]).verdicts] == ["pass", "pass"]  # the precision is what counts
    slow = comparison(timed("fp32", 2.0), timed("fp16", 1.0), timed("int8", 1.0))
    result = gate(slow, [RULE])
    assert (result.exit_code, [v.outcome for v in result.verdicts]) == (1, ["fail"])
    assert "INT8 is not worth it here" in result.verdicts[0].reason
    warned = gate(slow, [Rule(metric="recommended", min=1, level="warn")])
    assert (warned.exit_code, [v.outcome for v in warned.verdicts]) == (0, ["warn"])
    assert gate(slow, [Rule(metric="recommended", min=1, precision="fp16")]).passed
    assert gate(slow, [Rule(metric="recommended", min=1, target="tensorrt")]).exit_code == 5


@pytest.mark.parametrize(
    ("low", "high", "rule", "outcome"),
    [
        (1.8, 2.2, {"min": 1.5}, "pass"),
        (1.4, 2.6, {"min": 1.5}, "inconclusive"),
        (1.4, 2.6, {"min": 2.3}, "inconclusive"),
        (1.4, 2.6, {"min": 2.7}, "fail"),
        (1.4, 2.6, {"min": 2.3, "level": "warn"}, "inconclusive"),
        (1.4, 2.6, {"min": 2.3, "strict": True}, "fail"),
        (1.4, 2.6, {"min": 1.5, "strict": True}, "pass"),
        (1.4, 2.6, {"min": 1.5, "statistic": "pessimistic"}, "fail"),
        (1.4, 2.6, {"max": 2.3}, "inconclusive"),
        (1.4, 2.6, {"min": 1.0, "max": 2.3}, "inconclusive"),
    ],
)
def test_a_limit_inside_the_interval_of_the_speed_up_is_inconclusive(
    low: float, high: float, rule: dict[str, Any], outcome: str
) -> None:
    of = comparison(timed("fp32", 2.0), timed("int8", 1.0, speedup_interval=Interval(value=2.0, low=low, high=high)))
    (verdict,) = gate(of, [Rule(metric="speedup", **rule)]).verdicts
    assert verdict.outcome == outcome
    if outcome == "inconclusive":
        assert verdict.reason == "the limit is within the speed-up's 95 % interval, 1.40x to 2.60x"


def test_a_relative_rule_has_the_interval_of_the_rounds() -> None:
    """Medians of single rounds overlap by far, but the ratios within the rounds do not."""
    rows = [timed("fp32", 2.0), timed("fp16", 1.6), timed("int8", 1.0)]
    of = comparison(
        *(
            r.model_copy(update={"speedup_interval": speedup_interval(rows[0].rounds_ms, r.rounds_ms, r.speedup)})
            for r in rows
        )
    )
    (verdict,) = gate(of, [Rule(metric="speedup", against="fp16", max_rise=0)]).verdicts
    assert verdict.outcome == "fail"
