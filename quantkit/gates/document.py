"""``gate.json``: what was judged, and how it came out."""

from __future__ import annotations

import math
from typing import Any

from quantkit.core.comparison import Comparison
from quantkit.gates.judge import GateResult, Verdict

GATE_FILE = "gate.json"


def gate_document(result: GateResult, comparison: Comparison) -> dict[str, Any]:
    """The gate as one JSON object; what is infinite or was not found is null."""
    return {
        "schema_version": 1,
        "passed": result.passed,
        "exit_code": result.exit_code,
        "run": _origin(comparison),
        "baseline": None if result.baseline is None else _origin(result.baseline),
        "rules": [_verdict(verdict) for verdict in result.verdicts],
    }


def _origin(comparison: Comparison) -> dict[str, Any]:
    return {
        "path": None if comparison.source is None else str(comparison.source.absolute()),
        "model": comparison.model,
        "measured": comparison.environment.measured,
        "hardware": comparison.environment.hardware,
        "data_sha256": comparison.data_sha256,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    row = verdict.row
    keys = ("target", "device", "precision", "variant", "batch")
    return {
        **verdict.rule.model_dump(mode="json"),
        "rule": verdict.rule.describe(),
        "row": None if row is None else {key: getattr(row, key) for key in keys},
        "measured": _finite(verdict.value),
        "limit": _finite(verdict.limit),
        "margin": _finite(verdict.margin),
        "other": _finite(verdict.other),
        "outcome": verdict.outcome,
        "reason": verdict.reason,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
