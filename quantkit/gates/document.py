"""``gate.json``: the rules that were applied, and their outcomes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantkit.core.comparison import Comparison
from quantkit.core.errors import BadRun
from quantkit.core.reading import LARGEST_TEXT, read_file
from quantkit.gates.judge import GateResult, Verdict
from quantkit.gates.rule import Rule

GATE_FILE = "gate.json"


def gate_document(result: GateResult, comparison: Comparison) -> dict[str, Any]:
    """Return the gate's result as a JSON object, in which infinite and missing values are null."""
    return {
        "schema_version": 1,
        "passed": result.passed,
        "exit_code": result.exit_code,
        "run": _origin(comparison),
        "baseline": None if result.baseline is None else _origin(result.baseline),
        "rules": [_verdict(verdict) for verdict in result.verdicts],
    }


@dataclass(frozen=True)
class Judged:
    """The inputs of a ``gate.json``: the rules, when the run was measured, and the path of the baseline."""

    rules: tuple[Rule, ...] = ()
    measured: str = ""
    baseline: Path | None = None


def read_judged(path: Path) -> Judged:
    """Read the inputs of the last gate from its file; empty if the file is missing or damaged."""
    try:
        document = json.loads(read_file(path, LARGEST_TEXT, BadRun, "verdict"))
        found = (Rule(**{key: verdict[key] for key in Rule.model_fields}) for verdict in document["rules"])
        rules = tuple(dict.fromkeys(found))  # the verdicts of one rule on several rows repeat it
        baseline = document["baseline"] and document["baseline"]["path"]
        return Judged(rules, document["run"]["measured"], None if baseline is None else Path(baseline))
    except (OSError, ValueError, TypeError, KeyError, RecursionError, BadRun):
        return Judged()


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
