"""Two runs beside one another: what is better, what is chance, what cannot be compared."""

from __future__ import annotations

from typing import Any

import pytest

from quantkit.core.comparison import Comparison, Interval, Latency, LayerError
from quantkit.core.predictions import Predictions
from quantkit.reports.content.differences import (
    FigureDifference,
    answers_changed,
    facts,
    layer_differences,
    range_differences,
    row_differences,
)
from quantkit.reports.difference_html import Run, difference_page, judge_difference, run_names
from tests.reports.builders import HOSTILE, SHA, answered, calibration, comparison, reference_row, row


def latency(p50: float, spread: float = 0.1) -> Latency:
    return Latency(p10=p50 * 0.9, p50=p50, p90=p50 * 1.2, p99=p50 * 1.5, p50_low=p50 - spread, p50_high=p50 + spread)


def figure_of(metric: str, before: Comparison, after: Comparison) -> FigureDifference:
    found = next(d for d in row_differences(before, after) if d.row.precision == "int8")
    return next(figure for figure in found.figures if figure.metric == metric)


def errors(*figures: float | None) -> tuple[LayerError, ...]:
    return tuple(LayerError(name=f"n{i}", tensor=f"t{i}", kind="Conv", sqnr_db=f) for i, f in enumerate(figures))


def pair(before: dict[str, Any], after: dict[str, Any]) -> tuple[Comparison, Comparison]:
    return comparison(reference_row(), row(**before)), comparison(reference_row(), row(**after))


def judged(before: Comparison, after: Comparison) -> Any:
    return judge_difference(Run("a", None, before), Run("b", None, after), row_differences(before, after))


@pytest.mark.parametrize(("p50", "outcome"), [(1.5, "better"), (2.5, "worse"), (2.15, "no clear difference")])
def test_latency_counts_where_the_rounds_do_not_overlap(p50: float, outcome: str) -> None:
    before, after = pair({"latency_ms": latency(2.0)}, {"latency_ms": latency(p50)})
    assert figure_of("latency_ms.p50", before, after).outcome == outcome


def test_latency_of_other_hardware_is_not_compared() -> None:
    before, after = pair({"latency_ms": latency(2.0)}, {"latency_ms": latency(1.0)})
    after = after.model_copy(update={"environment": after.environment.model_copy(update={"cpu": "Another"})})
    found = figure_of("latency_ms.p50", before, after)
    assert (found.outcome, found.reason) == ("not comparable", "measured on other hardware")
    assert figure_of("sqnr_db", before, after).outcome == "same"


def test_accuracy_on_other_data_is_not_compared() -> None:
    before, after = pair({}, {"top1": 0.5})
    after = after.model_copy(update={"data_sha256": SHA[::-1]})
    assert figure_of("metrics.top1.value", before, after).reason == "evaluated on other data"
    assert figure_of("latency_ms.p50", before, after).outcome == "same"


@pytest.mark.parametrize(("top1", "outcome"), [(0.7, "worse"), (0.87, "no clear difference"), (0.9, "same")])
def test_without_answers_intervals_decide(top1: float, outcome: str) -> None:
    found = figure_of("metrics.top1.value", *pair({"top1": 0.9}, {"top1": top1}))
    assert found.outcome == outcome


@pytest.mark.parametrize(("won", "outcome"), [(4, "no clear difference"), (8, "better")])
def test_paired_answers_decide_where_there_are_any(won: int, outcome: str) -> None:
    """The intervals overlap either way; McNemar's p of 0 against 4 is 0.125, of 0 against 8 it is 0.008."""
    labels = [0] * 100
    before = answered(labels, labels, [1] * 20 + [0] * 80)
    after = answered(labels, labels, [0] * won + [1] * (20 - won) + [0] * (80))
    rows = [
        reference_row(),
        row(metrics={"top1": Interval(value=0.8 + won / 100, low=0.7, high=0.95)}),
    ]
    after = after.model_copy(update={"rows": tuple(rows)})
    before = before.model_copy(
        update={"rows": (rows[0], row(metrics={"top1": Interval(value=0.8, low=0.7, high=0.87)}))}
    )
    found = figure_of("metrics.top1.value", before, after)
    assert (found.outcome, found.reason[:14]) == (outcome, "McNemar's test")


def test_answers_of_other_samples_are_not_paired() -> None:
    before, after = answered([0, 0], [0, 0], [0, 1]), answered([0, 0], [0, 0], [1, 1], names=("x.png", "y.png"))
    assert answers_changed(before, after) == []


def test_answers_are_the_later_runs_against_the_earlier() -> None:
    before, after = answered([0, 0, 1], [0, 0, 1], [0, 1, 1]), answered([0, 0, 1], [0, 0, 1], [1, 0, 1])
    (part,) = answers_changed(before, after)
    assert (part.lost, part.won, [flip.name for flip in part.images]) == (1, 1, ["0.png"])


def test_rows_of_one_run_alone_are_listed() -> None:
    before = comparison(reference_row(), row(), row(target="tensorrt"))
    after = comparison(reference_row(), row(), row(target="onnxruntime"))
    alone = [(d.row.target, d.before is None, d.after is None) for d in row_differences(before, after) if not d.figures]
    assert alone == [("onnxruntime", True, False), ("tensorrt", False, True)]


def test_two_methods_are_one_row() -> None:
    before, after = pair({"variant": "entropy, qdq"}, {"variant": "mse, qdq"})
    assert len(row_differences(before, after)) == 2


@pytest.mark.parametrize(
    ("after", "headline"),
    [
        ({"sqnr_db": 30.0}, "Better"),
        ({"sqnr_db": 20.0}, "Worse"),
        ({"sqnr_db": 20.0, "latency_ms": latency(1.0)}, "Better and worse"),
        ({"size_bytes": 9}, "No clear difference"),
    ],
)
def test_the_headline(after: dict[str, Any], headline: str) -> None:
    assert judged(*pair({"latency_ms": latency(2.0)}, {"latency_ms": latency(2.0)} | after)).headline == headline


def test_an_output_that_became_equal_to_the_bit_is_better_and_still_prints() -> None:
    before, after = pair({}, {"sqnr_db": None})
    assert figure_of("sqnr_db", before, after).outcome == "better"
    page = difference_page(Run("a", None, before), Run("b", None, after))
    assert "25.3 dB → ∞ dB" in page.replace("\N{NO-BREAK SPACE}", " ")


def test_runs_on_other_data_are_neither_better_nor_worse() -> None:
    before, after = pair(
        {"latency_ms": latency(2.0), "layer_errors": errors(30.0)},
        {"latency_ms": latency(1.0), "layer_errors": errors(40.0)},
    )
    other = after.model_copy(update={"data_sha256": SHA[::-1]})
    assert judged(before, after).headline == "Faster"
    assert judged(before, other).headline == "Not comparable"
    assert (len(layer_differences(before, after)), layer_differences(before, other)) == (1, [])


def test_the_reason_names_the_figures_and_what_is_left_out() -> None:
    before, after = pair({"latency_ms": latency(2.0)}, {"latency_ms": latency(1.0), "sqnr_db": 30.0})
    assert judged(before, after).reason == "against a, b is better by SQNR and p50, and by no figure clearly worse."
    after = after.model_copy(update={"environment": after.environment.model_copy(update={"cpu": "Another"})})
    apart = "; latency cannot be compared."
    assert judged(before, after).reason == f"against a, b is better by SQNR, and by no figure clearly worse{apart}"


def test_tensors_of_one_run_alone_are_a_short_list() -> None:
    one, other = calibration([f"a{i}" for i in range(500)]), calibration(["b"])
    page = difference_page(Run("one", one, comparison()), Run("other", other, comparison()))
    assert "a0, a1, a2, a3, a4 and 495 more" in page


def test_layers_that_changed_most_come_first() -> None:
    before, after = pair(
        {"layer_errors": errors(30.0, 30.0, None, 20.0)}, {"layer_errors": errors(29.0, 35.0, 30.0, 20.01)}
    )
    found = [(d.layer, d.change) for d in layer_differences(before, after)]
    assert found == [("t1", 5.0), ("t0", -1.0)]


def test_ranges_by_their_ratio() -> None:
    one, other = calibration(["a", "b", "c"]), calibration(["a", "b", "d"])
    wider = other.tensors["b"].model_copy(update={"amax": 3 * other.tensors["b"].amax})
    dead = other.tensors["a"].model_copy(update={"amax": 0.0})
    other = other.model_copy(update={"tensors": other.tensors | {"b": wider, "a": dead}})
    assert [(d.tensor, round(d.ratio, 6)) for d in range_differences(one, other)] == [("a", 0.0), ("b", 3.0)]


def test_circumstances_that_differ_are_told() -> None:
    one, other = calibration(), calibration(method="mse", samples=50)
    differing = [fact.title for fact in facts((one, comparison()), (other, comparison())) if fact.differs]
    assert differing == ["Calibration data", "Method"]


def test_a_run_that_is_not_compared_shows_its_ranges() -> None:
    page = difference_page(Run("a", calibration(), None), Run("b", calibration(), comparison()))
    assert "Ranges alone" in page
    assert "not compared yet: a. Run quantkit compare." in page


def test_names_of_all_kinds_are_escaped() -> None:
    answers = answered([0, 0], [0, 0], [0, 1])
    assert answers.predictions is not None
    fields = vars(answers.predictions) | {"classes": HOSTILE[:3], "names": HOSTILE[:2]}
    rows = reference_row(), row(executed_precision=HOSTILE[0], variant=HOSTILE[1])
    layers = LayerError(name=HOSTILE[0], tensor=HOSTILE[1], kind="Conv", sqnr_db=3.0)
    before = comparison(
        *rows, model=HOSTILE[0], predictions=Predictions(**fields | {"keys": tuple(r.key for r in rows)})
    )
    after = before.model_copy(update={"rows": (rows[0], rows[1].model_copy(update={"layer_errors": (layers,)}))})
    first, second = calibration(HOSTILE, method=HOSTILE[2]), calibration([HOSTILE[0], "other"], method=HOSTILE[1])
    page = difference_page(
        Run(HOSTILE[0], first, before),
        Run(HOSTILE[1], second, after.model_copy(update={"predictions": before.predictions})),
        thumbnails=False,
    )
    assert "<script>alert" not in page
    assert "<img src=x" not in page


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [("runs/a", "runs/b", ("a", "b")), ("monday/out", "tuesday/out", ("monday/out", "tuesday/out"))],
)
def test_runs_are_called_by_what_tells_them_apart(
    before: str, after: str, names: tuple[str, str], tmp_path: Any
) -> None:
    assert run_names(tmp_path / before, tmp_path / after) == names


@pytest.mark.parametrize("known", ["by agreement", "by the answers kept"])
def test_equal_answers_are_never_worse(known: str) -> None:
    labels = [0, 0, 1]
    if known == "by agreement":
        before, after = pair({"agreement": 1.0}, {"agreement": 1.0, "sqnr_db": 20.0})
    else:
        before, after = answered(labels, labels, [0, 1, 1]), answered(labels, labels, [0, 1, 1])
        after = after.model_copy(update={"rows": (reference_row(), row(sqnr_db=20.0))})
    found = figure_of("sqnr_db", before, after)
    assert (found.outcome, found.reason) == ("no clear difference", "every answer is the same")
    assert judged(before, after).headline == "No clear difference"
    assert "worse" not in judged(before, after).sentence


@pytest.mark.parametrize(("p50", "headline"), [(2.5, "Slower"), (1.5, "Faster")])
def test_latency_alone_makes_a_run_slower_not_worse(p50: float, headline: str) -> None:
    assert judged(*pair({"latency_ms": latency(2.0)}, {"latency_ms": latency(p50)})).headline == headline
