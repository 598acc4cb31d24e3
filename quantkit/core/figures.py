"""Every metric once: its name in files, its unit, which way is better, and how people read it.

A *metric* is what can be measured; a *figure* is its value in one row of a comparison. Shares are 0 to 1 in files and
percent or points for people.
"""

from __future__ import annotations

from typing import Literal

from quantkit.core.record import Record

Unit = Literal["share", "ms", "dB", "x", "/s", "bytes", ""]
SPACED = {"ms": " ms", "dB": " dB", "x": "x", "/s": "/s", "bytes": " bytes", "": ""}


class Metric(Record):
    """What one figure means.

    ``name`` is its key in ``comparison.json``, ``title`` what people call it inside a sentence, ``hint`` one line that
    explains it. ``of_the_machine`` is true where the figure belongs to the hardware, as latency does. ``interval`` is
    true where rows can hold a 95 % interval of it.

    The metrics of a task say how samples make a figure: ``over_samples`` "mean" takes the mean of every sample's value,
    "max" the largest. ``of_fp32`` is true where a value compares outputs with FP32's, so that FP32's own is no
    reference to lose from.
    """

    name: str
    title: str
    unit: Unit = ""
    better: Literal["higher", "lower"] = "higher"
    hint: str = ""
    of_the_machine: bool = False
    interval: bool = False
    over_samples: Literal["mean", "max"] = "mean"
    of_fp32: bool = False

    @property
    def is_share(self) -> bool:
        """True for 0 to 1 in files, percent for people."""
        return self.unit == "share"

    def format(self, value: float) -> str:
        """A value as people read it: ``90.50 %``, ``2.313 ms``, ``31.4 dB``."""
        return f"{100 * value:.2f} %" if self.is_share else f"{value:.4g}{SPACED[self.unit]}"

    def format_difference(self, value: float) -> str:
        """A difference of two values, without a sign of its own for what is above zero: ``0.50 points``."""
        return f"{100 * value:.2f} points" if self.is_share else self.format(value)

    def loss(self, reference: float, value: float) -> float:
        """How much worse ``value`` is than ``reference``; negative where it is better."""
        return reference - value if self.better == "higher" else value - reference


def _latency(name: str, title: str) -> Metric:
    return Metric(name=name, title=title, unit="ms", better="lower", of_the_machine=True)


# What every row has, whatever the model is for. Metrics of a task stand with the task.
ROW_METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="agreement", title="agreement", unit="share", interval=True, hint="Share of answers equal to FP32's"
        ),
        Metric(name="sqnr_db", title="SQNR", unit="dB", hint="Signal to quantization noise of the worst output"),
        Metric(name="worst_layer_sqnr_db", title="SQNR of the worst layer", unit="dB"),
        Metric(name="speedup", title="speed-up", unit="x", of_the_machine=True, interval=True),
        Metric(name="throughput", title="throughput", unit="/s", of_the_machine=True),
        Metric(name="size_bytes", title="size", unit="bytes", better="lower"),
        _latency("latency_ms", "latency"),
        _latency("latency_with_copies_ms", "latency with copies"),
        _latency("latency_graph_ms", "latency as a CUDA graph"),
        Metric(name="gpu", title="GPU load", better="lower", of_the_machine=True),
    )
}
