"""The table of all rows, for all reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from quantkit.core.comparison import Comparison, Latency, Row
from quantkit.core.figures import Metric
from quantkit.reports import wording
from quantkit.reports.content.verdict import percent_digits

UNITS = ("%", "pt", "dB", "ms", "MiB")  # at the end of a title
TESTS = {"McNemar": "McNemar’s exact test", "paired t-test": "Student’s paired test"}


@dataclass(frozen=True)
class Cell:
    """The text of a cell, the sort key (None sorts last), and a smaller ``detail`` below the text."""

    text: str
    key: float | str | None
    detail: str = ""


@dataclass(frozen=True)
class Column:
    """The heading of a column, an explanation, and a function that returns the cell for a row.

    ``name`` tells columns apart whatever their titles, ``term`` is the word of the glossary that explains the title,
    and ``heading`` is a smaller title for the details.
    """

    title: str
    hint: str
    cell: Callable[[Row], Cell]
    numeric: bool = True
    name: str = ""
    term: str = ""
    heading: str = ""

    @property
    def parts(self) -> tuple[str, str]:
        """The title without its unit, and the unit."""
        title, _, unit = self.title.rpartition(" ")
        return (title, unit) if title and unit in UNITS else (self.title, "")


def columns(comparison: Comparison) -> list[Column]:
    """Return the columns that this comparison has figures for: shares in percent, drop in points, latency in ms."""
    digits = percent_digits(comparison.samples)
    metrics = wording.metrics_of(comparison)
    return [
        Column(
            "Target",
            "Runtime, the device, and how it ran",
            lambda row: Cell(row.target, f"{row.target} {row.device}", _run(row)),
            numeric=False,
            name="target",
        ),
        Column("Precision", "Precision of the artifact; calibration method", _precision, False, "precision"),
        Column(
            "Ran in",
            "What the weighted layers truly ran in",
            lambda row: Cell(row.executed_precision, row.executed_precision),
            numeric=False,
            name="ran",
        ),
        *(_metric(metric, digits, first=True) for metric in metrics[:1]),
        *(_drop(metric) for metric in metrics[:1] if not metric.of_fp32),
        *(_metric(metric, digits, first=False) for metric in metrics[1:]),
        *_agreement(comparison, digits),
        Column(
            "SQNR dB",
            "Signal to quantization noise of the worst output; beneath it that of a worse part",
            _sqnr,
            name="sqnr",
            term="SQNR",
        ),
        *_latencies(comparison),
        Column(
            "/s",
            "Throughput: samples per second",
            lambda row: Cell(f"{row.throughput:,.{0 if row.throughput >= 10 else 1}f}", row.throughput),
            name="throughput",
        ),
        Column(
            "Speed-up",
            "FP32's p50 on this target divided by this p50, with its 95 % interval over the rounds",
            lambda row: Cell(
                wording.DASH if row.is_reference else f"{row.speedup:.2f}x", row.speedup, wording.speedup_band(row)
            ),
            name="speedup",
            term="speed-up",
        ),
        *_gpu(comparison),
        Column("MB", "Size of the files", lambda row: Cell(f"{row.size_bytes / 1e6:.2f}", row.size_bytes), name="size"),
    ]


def drop_test(comparison: Comparison) -> str:
    """Return the test whose p stands under the drop, in words."""
    metric = next(iter(wording.metrics_of(comparison)), None)
    return "" if metric is None else _test(metric)


def _test(metric: Metric) -> str:
    return TESTS.get(metric.paired_test, f"the {metric.paired_test}")


def _gpu(comparison: Comparison) -> list[Column]:
    """Return the columns for memory and power of the GPU, if one was used."""
    if not any(row.gpu for row in comparison.rows):
        return []

    def memory(row: Row) -> Cell:
        if row.gpu is None:
            return Cell(wording.DASH, None)
        return Cell(f"{row.gpu.memory_bytes / 2**20:,.0f}", row.gpu.memory_bytes)

    def power(row: Row) -> Cell:
        if row.gpu is None or row.gpu.power_w is None:
            return Cell(wording.DASH, None)
        clock = f"{row.gpu.sm_clock_mhz:,} MHz" if row.gpu.sm_clock_mhz else ""
        return Cell(f"{row.gpu.power_w:.0f}", row.gpu.power_w, clock)

    return [
        Column("GPU MiB", "What the loaded model takes of the GPU's memory", memory, name="memory"),
        Column("Watt", "The GPU's mean power under this load, and its highest clock", power, name="power"),
    ]


def _run(row: Row) -> str:
    """Describe the device, and the threads and streams if the runtime reports them."""
    names = {"threads": "thread", "streams": "stream"}
    counts = {name: row.runtime[key] for key, name in names.items() if key in row.runtime}
    return ", ".join([row.device, *(f"{count} {name}{'s' if count != '1' else ''}" for name, count in counts.items())])


def _precision(row: Row) -> Cell:
    told = "by name only" if row.is_int8_by_name_only else ""
    detail = ", ".join(filter(None, (told, row.variant, row.feed_name if row.feed != (1, "") else "")))
    return Cell(row.precision.upper(), row.precision, detail)


def _metric(metric: Metric, digits: int, first: bool) -> Column:
    unit = " %" if metric.is_share else f" {metric.unit}".rstrip()

    def cell(row: Row) -> Cell:
        figure = row.metrics.get(metric.name)
        if figure is None:
            return Cell(wording.DASH, None)
        band = wording.band(metric, figure, digits).removesuffix(unit) if first else ""
        return Cell(wording.value(metric, figure.value, digits).removesuffix(unit), figure.value, band)

    title = f"{metric.heading}{unit}"
    interval = ", with its 95 % confidence interval" if first and metric.interval else ""
    return Column(title, f"{metric.hint or metric.title}{interval}", cell, name="main" if first else "further")


def _drop(metric: Metric) -> Column:
    test = f"the p of {_test(metric)}"

    def cell(row: Row) -> Cell:
        drop = row.drop.get(metric.name)
        if drop is None or row.is_reference:
            return Cell(wording.DASH, None)
        change = row.changes.get(metric.name)
        text = wording.points(drop) if metric.is_share else wording.value(metric, drop)  # a loss is positive
        return Cell(text, drop, "" if change is None else f"p = {change.p_value:.2g}")

    if metric.better == "lower":
        hint = f"This {metric.title} minus FP32's"
    else:
        hint = f"FP32's {metric.title} minus this one{', in percentage points' * metric.is_share}"
    hint = f"{hint}: a loss is positive, a gain negative; beneath it {test}"
    return Column("Lost pt" if metric.is_share else "Lost", hint, cell, name="lost")


def _agreement(comparison: Comparison, digits: int) -> list[Column]:
    """Return the column for agreement, if the task has answers to compare."""
    if all(row.agreement is None for row in comparison.rows):
        return []

    def cell(row: Row) -> Cell:
        if row.agreement is None:
            return Cell(wording.DASH, None)
        return Cell(wording.percent(row.agreement, digits).removesuffix(" %"), row.agreement)

    by = f", by {comparison.answers}" if comparison.answers else ""
    hint = f"Share of answers equal to those of FP32 in ONNX Runtime{by}"
    return [Column("Agree %", hint, cell, name="agreement", term="agreement")]


def _sqnr(row: Row) -> Cell:
    if not row.has_sqnr:
        return Cell(wording.DASH, None)
    key = row.sqnr_db if row.sqnr_db is not None else 1e9  # bit-exact is best
    part = row.worst_part
    worse = part is not None and (row.sqnr_db is None or (part.sqnr_db or 0.0) < row.sqnr_db)
    return Cell(
        wording.sqnr(row.sqnr_db), key, f"{wording.sqnr(part.sqnr_db)} in {part.part}" if part and worse else ""
    )


def _latencies(comparison: Comparison) -> list[Column]:
    fastest = min((row.latency_ms.p50 for row in comparison.rows), default=1.0)
    digits = 2 if fastest >= 1 or fastest <= 0 else min(5, 2 - math.floor(math.log10(fastest)))

    def cell_of(value: float | None) -> Cell:
        return Cell(wording.DASH, None) if value is None else Cell(f"{value:,.{digits}f}", value)

    def median_of(field: str) -> Callable[[Row], Cell]:
        def cell(row: Row) -> Cell:
            latency: Latency | None = getattr(row, field)
            return cell_of(None if latency is None else latency.p50)

        return cell

    def column(name: str) -> Column:
        def cell(row: Row) -> Cell:
            return cell_of(float(getattr(row.latency_ms, name)))

        hint = f"{name[1:]} % of the inferences took at most so many ms"
        return Column(name + " ms" * (name == "p50"), hint, cell, name=name, term=name)

    found = [column(name) for name in ("p50", "p90", "p99")]
    for field, title, hint in (
        ("latency_with_copies_ms", "With copies", "p50 in ms with the copies between host and device"),
        ("latency_graph_ms", "CUDA graph", "p50 in ms without copies, all kernels launched as one CUDA graph"),
    ):
        if any(getattr(row, field) for row in comparison.rows):
            found.append(Column(title, hint, median_of(field), name=field))
    return found
