"""Small calibrations, comparisons and gates to report on."""

from __future__ import annotations

from collections.abc import Iterable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.calibration import Calibration, DataRef, ModelRef, TensorCalibration
from quantkit.core.comparison import Comparison, Environment, Interval, Latency, Row
from quantkit.core.predictions import Predictions
from quantkit.core.preprocess import Preprocess
from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.collected import Collected
from quantkit.core.statistics.histogram import BINS, DEAD_WIDTH, Histogram
from quantkit.gates import GateResult, Rule
from quantkit.gates import gate as apply_rules
from quantkit.reports.html import html_report
from quantkit.tasks.classification import Classification

SHA = "0123456789abcdef" * 4
HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a|b`c`<b>",
    "$x_1^2$ --> ]]> {{ 7 * 7 }} \u2028 測試",
)


def histogram(values: npt.NDArray[np.float64]) -> Histogram:
    largest = float(np.abs(values).max())
    width = largest / BINS or DEAD_WIDTH
    bins = np.minimum((np.abs(values) / width).astype(np.int64), BINS)
    negative, positive = (
        np.bincount(bins[mask], minlength=BINS + 1).astype(np.int64) for mask in (values < 0, values >= 0)
    )
    return Histogram(negative, positive, width, float(values.min()), float(values.max()))


def calibration(names: Iterable[str] = ("conv1", "relu1"), dead: Iterable[str] = (), **changes: Any) -> Calibration:
    rng = np.random.default_rng(5)
    tensors, histograms = {}, {}
    for name in names:
        values = rng.standard_normal(20_000)
        largest = float(np.abs(values).max())
        candidates = {
            method: TensorRange(share * largest, -share * largest, share * largest)
            for method, share in (("minmax", 1.0), ("percentile", 0.8), ("entropy", 0.5), ("mse", 0.7))
        }
        amax = candidates["entropy"].amax
        tensors[name] = TensorCalibration(
            amax=amax, low=-amax, high=amax, method="entropy", reason="the run's method", candidates=candidates
        )
        histograms[name] = histogram(values)
    for name in dead:
        floor = DEAD_WIDTH * BINS
        tensors[name] = TensorCalibration(
            amax=floor,
            low=0.0,
            high=floor,
            method="entropy",
            reason="all zeros",
            dead=True,
            candidates={"entropy": TensorRange(floor, 0.0, floor)},
        )
        histograms[name] = histogram(np.zeros(100))
    fields: dict[str, Any] = {
        "created": "2026-01-02T03:04:05+00:00",
        "versions": {"quantkit": "0.1.0", "onnx": "1.20"},
        "model": ModelRef(path="models/net.onnx", sha256=SHA),
        "data": DataRef(path="data/calibration", sha256=SHA),
        "preprocess": Preprocess(),
        "samples": 100,
        "batch_size": 1,
        "seed": 0,
        "method": "entropy",
        "tensors": tensors,
    }
    return Calibration(**{"collected": Collected(histograms, {}, {}), **fields, **changes})


def row(precision: str = "int8", top1: float | None = 0.9, reference: float = 0.905, **changes: Any) -> Row:
    """A row; ``top1`` None for unlabelled data. The 95 % interval is four points either way."""
    labelled = top1 is not None
    p50 = 5.0 if precision == "fp32" else 2.0
    fields: dict[str, Any] = {
        "target": "openvino",
        "device": "CPU",
        "precision": precision,
        "variant": "entropy" if precision == "int8" else "",
        "batch": 1,
        "executed_precision": {"fp32": "f32", "fp16": "f16"}.get(precision, precision),
        "metrics": {"top1": Interval(value=top1, low=top1 - 0.04, high=top1 + 0.04)} if top1 is not None else {},
        "drop": {"top1": reference - top1} if labelled and top1 is not None else {},
        "agreement": 0.99,
        "sqnr_db": None if precision == "fp32" else 25.3,
        "latency_ms": Latency(p10=p50 * 0.9, p50=p50, p90=p50 * 1.2, p99=p50 * 1.5),
        "throughput": 1000 / p50,
        "speedup": 5.0 / p50,
        "size_bytes": 3_500_000,
    }
    return Row(**fields | changes)


def reference_row(top1: float | None = 0.905, **changes: Any) -> Row:
    return row("fp32", top1, **{"agreement": 1.0, **changes})


def comparison(*rows: Row, **changes: Any) -> Comparison:
    """A comparison; without rows, FP32 and one INT8 on openvino."""
    rows = rows or (reference_row(), row())
    fields: dict[str, Any] = {
        "model": "models/net.onnx",
        "data": "data/evaluation",
        "data_sha256": SHA,
        "samples": 200,
        "labelled": 200 if rows[0].metrics else 0,
        "method": "entropy",
        "rows": rows,
        "environment": Environment(
            quantkit="0.1.0",
            python="3.11.7",
            platform="Linux",
            cpu="Some CPU",
            cores=8,
            packages={"onnxruntime": "1.23.0", "openvino": "2026.4"},
            measured="2026-01-02T03:14:05+00:00",
        ),
        "metrics": Classification.metrics,
    }
    return Comparison(**fields | changes)


def answered(labels: list[int], before: list[int], after: list[int], **changes: object) -> Comparison:
    """A comparison whose only INT8 row answered ``after`` where FP32 answered ``before``."""
    rows = reference_row(), row()
    count = len(labels)
    confidences = np.stack([np.linspace(0.5, 0.9, count), np.full(count, 0.6)]).astype(np.float32)
    fields: dict[str, object] = {
        "names": tuple(f"{number}.png" for number in range(count)),
        "classes": ("cat", "dog", "emu"),
        "labels": np.array(labels, np.int32),
        "keys": tuple(r.key for r in rows),
        "kept": {"answers": np.array([before, after], np.int32), "confidences": confidences},
    }
    return comparison(*rows, predictions=Predictions(**(fields | changes)))  # type: ignore[arg-type]


def gated(*rules: dict[str, Any], of: Comparison | None = None) -> GateResult:
    return apply_rules(of or comparison(), [Rule(**rule) for rule in rules])


class Page(HTMLParser):
    """What a browser would see: elements with attributes, the text, and the content of scripts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._raw = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._raw = tag if tag in ("script", "style") else ""
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._raw = ""

    def handle_data(self, data: str) -> None:
        if self._raw == "script":
            self.scripts[-1] += data
        elif not self._raw:
            self.text += data

    @property
    def words(self) -> str:
        """The text with plain spaces."""
        return " ".join(self.text.replace("\u2060", "").split())

    def count(self, tag: str, **attributes: str) -> int:
        return sum(
            name == tag and attributes.items() <= {k: v or "" for k, v in found.items()}.items()
            for name, found in self.elements
        )


def page(
    calibrated: Calibration | None = None, compared: Comparison | None = None, gate: GateResult | None = None
) -> Page:
    return Page(html_report(calibrated, compared, gate))
