"""The sentence that decides whether a model ships."""

from __future__ import annotations

from typing import Any

import pytest

from quantkit.core.comparison import Interval, Latency, OutputError
from quantkit.gates import GateResult
from quantkit.measure.paired import change
from quantkit.pipeline.comparison.rows import speed_warnings
from quantkit.reports import wording
from quantkit.reports.content.table import columns
from quantkit.reports.content.verdict import judge
from tests.reports.builders import comparison, gated, reference_row, row

MEETS = {"metric": "drop.top1", "max": 0.01}
MISSES = {"metric": "drop.top1", "max": 0.002}


def finding(*rows: object, **changes: object) -> str:
    return " ".join(judge(comparison(*rows, **changes), None).results)  # type: ignore[arg-type]


def test_passing_gate_ships_with_the_figures() -> None:
    judgement = judge(comparison(), gated(MEETS))
    assert judgement.outcome == "ship"
    assert judgement.sentence.startswith("Ship: the gate rule is met. INT8 on openvino keeps 90.0 % top-1")
    assert "(95 % interval 86.0–94.0 %; 0.50 points lost against FP32)" in judgement.sentence
    assert "agrees with FP32 on 99.0 %, and is 2.5x faster." in judgement.sentence


def test_failing_gate_names_the_rule_and_the_value() -> None:
    judgement = judge(comparison(), gated(MISSES, MEETS))
    assert (judgement.outcome, judgement.headline) == ("stop", "Do not ship")
    assert "openvino int8 misses Top-1 lost ≤ 0.20 points (measured 0.50 points)" in judgement.reason


def test_missed_warning_ships_but_is_said() -> None:
    judgement = judge(comparison(), gated(MEETS, MISSES | {"level": "warn"}))
    assert judgement.outcome == "ship"
    assert "as a warning, openvino int8 misses Top-1 lost ≤ 0.20 points" in judgement.reason


@pytest.mark.parametrize("gate", [GateResult(()), gated({"metric": "top5", "min": 0.9})])
def test_nothing_evaluated_is_no_ship(gate: GateResult) -> None:
    judgement = judge(comparison(), gate)
    assert (judgement.outcome, judgement.headline) == ("open", "Nothing evaluated")


def test_nothing_evaluated_still_names_what_failed() -> None:
    judgement = judge(comparison(), gated({"metric": "top5", "min": 0.9}, MISSES))
    assert "Top-5 ≥ 90.00 % for */int8" in judgement.reason
    assert "besides, openvino int8 misses" in judgement.reason


def test_without_gate_or_comparison() -> None:
    assert judge(comparison(), None).sentence.startswith("No gate: ")
    assert judge(None, None).sentence == "Calibrated, not compared yet: run quantkit compare to measure it."


def test_long_lists_of_failures_are_counted() -> None:
    judgement = judge(comparison(), gated(*[MISSES | {"max": 0.001 + i / 10_000} for i in range(5)]))
    assert judgement.reason.endswith("and 2 more.")


def test_small_drop_is_not_overstated() -> None:
    assert "200 samples cannot tell this loss from chance" in finding()


def test_drop_beyond_the_interval_has_no_excuse() -> None:
    text = finding(reference_row(), row(top1=0.8, agreement=0.8))
    assert "falls to 80.0 % top-1 (95 % interval 76.0–84.0 %; 10.50 points lost" in text
    assert "chance" not in text


@pytest.mark.parametrize(
    ("lost", "won", "said"),
    [
        (26, 5, ". The loss is more than chance (McNemar p = 0.00019)."),
        (70, 50, ". 200 samples cannot tell this loss from chance (McNemar p = 0.082)."),
        (6, 0, ". The loss is more than chance (McNemar p = 0.031)."),
        (6, 2, "lies within that interval: 200 samples cannot tell this loss from chance (McNemar p = 0.29)."),
    ],
)
def test_mcnemar_decides_wherever_the_interval_lies(lost: int, won: int, said: str) -> None:
    """The first two drops, of ten points, are beyond the interval, and the others, of 3 and 2 points, within it."""
    top1 = 0.905 - (lost - won) / 200
    assert finding(reference_row(), row(top1=top1, changes={"top1": change(lost, won, 200)})).endswith(said)


def test_no_change_and_gain() -> None:
    assert "; the same as FP32)" in finding(reference_row(), row(top1=0.905))
    gain = finding(reference_row(), row(top1=0.91))
    assert "; 0.50 points gained against FP32)" in gain
    assert "cannot tell this gain from chance" in gain


def test_unlabelled_data_speaks_of_agreement_only() -> None:
    text = finding(reference_row(None), row(top1=None))
    assert text == "INT8 on openvino agrees with FP32 on 99.0 % of 200 unlabelled samples and is 2.5x faster."


def test_int8_that_did_not_run_in_int8_and_broken_outputs() -> None:
    told = "It is INT8 by name only: no layer of it ran in INT8, but in f32."
    assert told in finding(reference_row(), row(executed_precision="f32"))
    for executed in ("int8 52, f32 1", "u8", "unknown"):
        assert "by name only" not in finding(reference_row(), row(executed_precision=executed))
    assert "not finite" in finding(reference_row(), row(sqnr_db=-300.0))


def test_rows_of_one_name_are_told_apart() -> None:
    text = finding(reference_row(), row(), row(batch=8))
    assert "INT8 on openvino (batch 1) keeps" in text
    assert "INT8 on openvino (batch 8) keeps" in text


def test_without_int8_the_other_precisions_are_judged() -> None:
    assert finding(reference_row(), row("fp16", top1=0.905)).startswith("FP16 on openvino keeps")
    assert judge(comparison(reference_row()), None).results == ()


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.99999, "99.9 %"), (0.00001, "0.1 %"), (0.0, "0 %"), (0.905, "90.5 %"), (-0.02, "−2.0 %")],
)
def test_percent_never_rounds_to_all_or_nothing(share: float, text: str) -> None:
    assert wording.percent(share) == text


@pytest.mark.parametrize(
    ("speedup", "text"),
    [(2.38, "2.4x faster"), (1.2, "1.20x faster"), (1.0, "about as fast"), (0.8, "1.25x slower"), (0.2, "5.0x slower")],
)
def test_speed(speedup: float, text: str) -> None:
    assert text in wording.speed(speedup)


def outputs(*figures: tuple[str, float]) -> tuple[OutputError, ...]:
    return tuple(OutputError(output="y", part=part, sqnr_db=figure) for part, figure in figures)


@pytest.mark.parametrize(
    ("changes", "rule", "ships", "said"),
    [
        ({"outputs": outputs(("", 40.0), ("boxes", 42.0), ("scores", 0.4))}, MEETS, False, "y, part scores of INT8"),
        ({"outputs": outputs(("", 2.0))}, {"metric": "sqnr_db", "min": 1.0}, False, "is noise"),
        ({"outputs": outputs(("", 12.0))}, {"metric": "speedup", "min": 1.0}, False, "far from FP32's"),
        ({"outputs": outputs(("", 12.0))}, MEETS, True, ""),
        ({"outputs": outputs(("", 30.0))}, {"metric": "speedup", "min": 1.0}, True, ""),
        ({"sqnr_db": 1.0}, MEETS, False, "is noise"),
        ({"changes": {"top1": change(26, 5, 200)}}, {"metric": "speedup", "min": 1.0}, False, "more than chance"),
        ({"changes": {"top1": change(26, 5, 200)}}, MEETS, False, "loses 0.50 points of top-1, which is more than"),
        (
            {
                "top1": None,
                "agreement": None,
                "sqnr_db": None,
                "outputs": (OutputError(output="y", measured=False, left_out=9),),
            },
            {"metric": "speedup", "min": 1.0},
            False,
            "nothing tells how good",
        ),
    ],
)
def test_a_gate_that_is_met_does_not_ship_noise_or_a_loss_that_it_did_not_judge(
    changes: dict[str, Any], rule: dict[str, Any], ships: bool, said: str
) -> None:
    compared = comparison(reference_row(), row(**changes))
    judgement = judge(compared, gated(rule, of=compared))
    assert (judgement.outcome == "ship") == ships
    assert ("Ship" in judgement.headline) == ships
    assert said in judgement.reason


def test_the_worst_part_is_named_in_the_result() -> None:
    far = row(outputs=outputs(("", 40.0), ("scores", 9.0)))
    assert "Y, part scores is far from FP32's, with an SQNR of 9.0 dB." in finding(reference_row(), far)
    assert "SQNR of" not in finding(reference_row(), row(outputs=outputs(("", 40.0), ("scores", 16.0))))


@pytest.mark.parametrize(("scores", "warned"), [(0.4, True), (30.0, False)])
def test_the_command_line_warns_of_a_gate_that_noise_meets(
    scores: float, warned: bool, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    from quantkit.cli.gate import print_gate

    compared = comparison(reference_row(), row(outputs=outputs(("", 40.0), ("scores", scores))))
    print_gate(gated(MEETS, of=compared), compared, as_json=False)
    assert "The gate is passed." in capsys.readouterr().out
    assert any("Do not ship yet" in record.message for record in caplog.records) == warned


LOST = {"top1": 0.8, "changes": {"top1": change(26, 5, 200)}}


@pytest.mark.parametrize(
    ("rules", "headline"),
    [
        (None, "Loses accuracy"),
        ([{"metric": "drop.top1", "max": 0.099}], "Do not ship"),
        ([{"metric": "speedup", "min": 1.0}], "Do not ship yet"),
        ([{"metric": "drop.top1", "max": 0.099, "level": "warn"}], "Do not ship yet"),
        ([{"metric": "typo", "max": 1}], "Nothing evaluated"),
    ],
)
def test_a_significant_loss_is_red_gate_or_no_gate(rules: list[dict[str, Any]] | None, headline: str) -> None:
    compared = comparison(reference_row(), row(**LOST))
    judgement = judge(compared, None if rules is None else gated(*rules, of=compared))
    assert (judgement.outcome, judgement.headline) == ("stop", headline)
    lost = "INT8 on openvino loses 10.50 points of top-1, which is more than chance (p = 0.00019)"
    assert (lost in judgement.reason) == (headline != "Do not ship")  # a rule has said so already
    by_chance = comparison(reference_row(), row(changes={"top1": change(6, 2, 200)}))
    assert judge(by_chance, None).outcome == "open"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"agreement": 0.9, "agreement_interval": Interval(value=0.9, low=0.85, high=0.94)},
            "more than one sample of 20",
        ),
        ({"agreement": 0.94, "agreement_interval": Interval(value=0.94, low=0.9, high=0.97)}, ""),
        ({"agreement": None, "sqnr_db": 12.0}, "the worst output of INT8 on openvino is far from FP32's (12.0 dB)"),
        ({"agreement": None, "sqnr_db": 20.0}, ""),
        ({"agreement": 0.99, "sqnr_db": 1.0}, "is noise"),
    ],
)
def test_without_labels_answers_and_outputs_stand_for_accuracy(changes: dict[str, Any], said: str) -> None:
    judgement = judge(comparison(reference_row(None), row(top1=None, **changes)), None)
    assert (judgement.outcome == "stop") == bool(said)
    assert said in judgement.reason


def test_a_method_that_loses_is_passed_over_if_another_one_does_not() -> None:
    fine, lossy = row(variant="mse"), row(variant="minmax", **LOST)
    assert judge(comparison(reference_row(), fine, lossy), None).outcome == "open"
    assert judge(comparison(reference_row(), lossy), None).outcome == "stop"
    elsewhere = fine.model_copy(update={"target": "onnxruntime"})
    assert judge(comparison(reference_row(), lossy, elsewhere), None).outcome == "stop"


def rounds(p50: float, low: float, high: float) -> Latency:
    return Latency(p10=low, p50=p50, p90=high, p99=high, p50_low=low, p50_high=high)


@pytest.mark.parametrize(
    ("fp32", "int8", "said"),
    [
        (rounds(5.0, 4.9, 5.1), rounds(5.8, 5.7, 5.9), "is slower than FP32 here (0.86x)"),
        (rounds(5.0, 4.0, 6.0), rounds(5.8, 4.7, 5.9), "is no faster than FP32 here (0.86x)"),  # rounds disagree
        (rounds(5.0, 4.9, 5.1), rounds(4.9, 4.8, 5.0), "is no faster than FP32 here (1.02x)"),
        (rounds(5.0, 4.9, 5.1), rounds(2.5, 2.4, 2.6), ""),
    ],
)
def test_int8_that_is_not_faster_is_said_everywhere(fp32: Latency, int8: Latency, said: str) -> None:
    measured = comparison(
        reference_row(latency_ms=fp32, speedup=1.0), row(latency_ms=int8, speedup=fp32.p50 / int8.p50)
    )
    assert speed_warnings(measured.rows) == ([f"INT8 on openvino {said}."] if said else [])
    judgement = judge(measured, gated(MEETS, of=measured))
    assert judgement.headline == "Ship"
    assert judgement.reason == f"the gate rule is met{f', though INT8 on openvino {said}' if said else ''}."
    assert (said or "is 2.0x faster") in judgement.results[0]


@pytest.mark.parametrize(
    ("speedup", "low", "high", "said"),
    [
        (1.3, 0.9, 1.9, "may be no faster than FP32 here (1.30x, 95 % interval 0.90–1.90x)"),
        (1.3, 1.2, 1.4, ""),
        (0.9, 0.8, 1.1, "is no faster than FP32 here (0.90x)"),
        (0.9, 0.85, 0.95, "is slower than FP32 here (0.90x)"),
    ],
)
def test_the_interval_of_a_speed_up_decides(speedup: float, low: float, high: float, said: str) -> None:
    int8 = row(speedup=speedup, speedup_interval=Interval(value=speedup, low=low, high=high))
    assert speed_warnings((reference_row(), int8)) == ([f"INT8 on openvino {said}."] if said else [])
    if not said:
        assert f"is 1.30x faster ({low:.2f}–{high:.2f}x)" in finding(reference_row(), int8)


def test_each_batch_is_held_against_fp32_at_the_same_batch() -> None:
    rows = (
        reference_row(latency_ms=rounds(5.0, 4.9, 5.1), speedup=1.0),
        reference_row(latency_ms=rounds(50.0, 49.0, 51.0), speedup=1.0, batch=8),
        row(latency_ms=rounds(6.0, 5.9, 6.1), speedup=5 / 6),
        row(latency_ms=rounds(20.0, 19.0, 21.0), speedup=2.5, batch=8),
    )
    assert speed_warnings(rows) == ["INT8 on openvino (batch 1) is slower than FP32 here (0.83x)."]


def test_the_table_says_that_int8_is_one_by_name_only() -> None:
    for executed, told in (("f16 75", True), ("int8 3, f16 72", False)):
        compared = comparison(reference_row(), row(executed_precision=executed))
        cells = [column.cell(compared.rows[1]) for column in columns(compared) if column.title == "Precision"]
        assert ("by name only" in cells[0].detail) == told
