"""Rows and comparisons of few figures, for gates to judge."""

from __future__ import annotations

from typing import Any

from quantkit.core.comparison import Change, Comparison, Environment, Interval, Latency, Row
from quantkit.core.predictions import Predictions
from quantkit.tasks.classification import Classification


def row(target: str, precision: str, **values: object) -> Row:
    fields: dict[str, object] = {
        "target": target,
        "device": "CPU",
        "precision": precision,
        "variant": "",
        "batch": 1,
        "executed_precision": "f32",
        "metrics": {"top1": Interval(value=0.9, low=0.88, high=0.92)},
        "drop": {"top1": 0.004},
        "agreement": 0.99,
        "sqnr_db": 30.0,
        "latency_ms": Latency(p10=1, p50=2, p90=3, p99=4),
        "throughput": 500.0,
        "speedup": 2.0,
        "size_bytes": 1000,
    }
    return Row(**(fields | values))  # type: ignore[arg-type]


def comparison(*rows: Row, predictions: Predictions | None = None) -> Comparison:
    environment = Environment(quantkit="0", python="3", platform="x", cpu="c", cores=2, packages={}, measured="now")
    return Comparison(
        model="m",
        data="d",
        data_sha256="",
        samples=10,
        labelled=10,
        method="mse",
        rows=rows,
        environment=environment,
        metrics=Classification.metrics,
        predictions=predictions,
    )


def latency(p50: float, spread: float = 0.01) -> Latency:
    low, high = p50 * (1 - spread), p50 * (1 + spread)
    return Latency(p10=low, p50=p50, p90=high, p99=high, p50_low=low, p50_high=high)


def run(p50: float = 1.0, top1: float = 0.9, spread: float = 0.01, **changes: Any) -> Comparison:
    """FP32 at 2 ms, FP16 at 1.5 ms and INT8 at ``p50``."""
    interval = Interval(value=top1, low=top1 - 0.02, high=top1 + 0.02)
    change = Change(lost=6, won=2, low=-0.001, high=0.009, p_value=0.29)
    rows = (
        row("openvino", "fp32", latency_ms=latency(2.0), speedup=1.0, agreement=1.0, sqnr_db=None),
        row("openvino", "fp16", latency_ms=latency(1.5), speedup=2 / 1.5),
        row(
            "openvino",
            "int8",
            latency_ms=latency(p50, spread),
            latency_graph_ms=latency(p50 / 2),
            speedup=2 / p50,
            metrics={"top1": interval},
            changes={"top1": change},
            agreement_interval=Interval(value=0.99, low=0.98, high=0.995),
        ),
    )
    return comparison(*rows).model_copy(update=changes)
