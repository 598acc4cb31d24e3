"""Every metric once: its name in files, its unit, which way is better, and its format.

A *metric* is a quantity that can be measured; a *figure* is its value in one row of a comparison. Shares are 0 to 1 in
files, and are displayed in percent or points.
"""

from __future__ import annotations

from typing import Literal

from quantkit.core.record import Record

Unit = Literal["share", "ms", "dB", "x", "/s", "bytes", ""]
SPACED = {"ms": " ms", "dB": " dB", "x": "x", "/s": "/s", "bytes": " bytes", "": ""}


class Metric(Record):
    """The meaning of a figure.

    Attributes:
        name: The key in ``comparison.json``.
        title: The name inside a sentence.
        unit: The unit; empty for a plain number.
        better: Which way is better.
        hint: One line that explains the metric.
        of_the_machine: True if the figure depends on the hardware, as latency does.
        interval: True if rows can have a 95 % interval of it.
        over_samples: How a task combines the values of samples: "mean", "max" for the largest, or "rms" for the root of
            the mean of squares.
        of_fp32: True if the value compares outputs with FP32's; then there is no drop from FP32.
        digits: Significant digits on display; shares have two decimals instead.
        test: The paired test of its change from FP32, if it is none of :attr:`paired_test`.
    """

    name: str
    title: str
    unit: Unit = ""
    better: Literal["higher", "lower"] = "higher"
    hint: str = ""
    of_the_machine: bool = False
    interval: bool = False
    over_samples: Literal["mean", "max", "rms"] = "mean"
    of_fp32: bool = False
    digits: int = 4
    test: str = ""

    @property
    def heading(self) -> str:
        """The title with a capital letter; "mAP", which has capitals of its own, stays."""
        return self.title if self.title[1:2].isupper() else self.title[:1].upper() + self.title[1:]

    @property
    def paired_test(self) -> str:
        """The paired test of its change: McNemar's for shares, Student's for means, unless the metric names another."""
        return self.test or ("McNemar" if self.is_share else "paired t-test")

    @property
    def is_share(self) -> bool:
        """True for a share: 0 to 1 in files, displayed in percent."""
        return self.unit == "share"

    def format(self, value: float) -> str:
        """Format a value for display: ``90.50 %``, ``2.313 ms``, ``31.4 dB``."""
        return f"{100 * value:.2f} %" if self.is_share else f"{value:.{self.digits}g}{SPACED[self.unit]}"

    def format_difference(self, value: float) -> str:
        """Format the difference of two values, without a plus sign: ``0.50 points``."""
        return f"{100 * value:.2f} points" if self.is_share else self.format(value)

    def loss(self, reference: float, value: float) -> float:
        """Return how much worse ``value`` is than ``reference``; negative if it is better."""
        return reference - value if self.better == "higher" else value - reference


def _latency(name: str, title: str) -> Metric:
    return Metric(name=name, title=title, unit="ms", better="lower", of_the_machine=True)


# The metrics of every row, whatever the task. The metrics of a task are defined with the task.
ROW_METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="agreement", title="agreement", unit="share", interval=True, hint="Share of answers equal to FP32's"
        ),
        Metric(name="sqnr_db", title="SQNR", unit="dB", hint="Signal to quantization noise of the worst output"),
        Metric(name="worst_part_sqnr_db", title="SQNR of the worst part of an output", unit="dB"),
        Metric(name="worst_layer_sqnr_db", title="SQNR of the worst layer", unit="dB"),
        Metric(name="speedup", title="speed-up", unit="x", of_the_machine=True, interval=True),
        Metric(name="recommended", title="recommendation", of_the_machine=True, hint="1 for the precision to ship"),
        Metric(name="throughput", title="throughput", unit="/s", of_the_machine=True),
        Metric(name="size_bytes", title="size", unit="bytes", better="lower"),
        _latency("latency_ms", "latency"),
        _latency("latency_with_copies_ms", "latency with copies"),
        _latency("latency_graph_ms", "latency as a CUDA graph"),
        Metric(name="gpu", title="GPU load", better="lower", of_the_machine=True),
    )
}

# The last keys of a figure's path, where they say more than the metric's title; others are their own words.
PARTS_OF_PATHS = {
    "value": "",
    "low": "low end of its interval",
    "high": "high end of its interval",
    "p_value": "p of its change",
    "memory_bytes": "memory",
    "power_w": "power",
    "sm_clock_mhz": "clock",
}


def path_title(path: str, metric: Metric) -> str:
    """Name a figure in words: ``metrics.top1.value`` is "Top-1", ``drop.top1`` "Top-1 lost".

    Args:
        path: The path of the figure in a row of ``comparison.json``.
        metric: The metric that it is a figure of.

    Returns:
        The title, which starts with a capital letter.
    """
    head, *rest = path.split(".")
    if head == "drop":
        return f"{metric.heading} {'lost' if metric.better == 'higher' else 'rise'}"
    parts = rest[1:] if head in ("metrics", "changes") else rest
    told = (PARTS_OF_PATHS.get(part, part.replace("_", " ")) for part in parts)
    return ", ".join(filter(None, (metric.heading, *told)))
