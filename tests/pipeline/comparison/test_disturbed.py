"""A disturbed latency is measured longer, warned of if that did not help, and leaves rules about speed open."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantkit
from quantkit.core.artifact import Artifact
from quantkit.core.recipe import Recipe
from quantkit.gates import Rule, gate
from quantkit.pipeline.comparison import stage
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.comparison.feeds import Feed
from quantkit.pipeline.comparison.timing import LONGEST, time_candidates
from quantkit.targets import Session
from quantkit.targets.onnxruntime import OnnxRuntime

ROUNDS = 4


class Disturbed:
    """A session that waits up to 20 ms more in two inferences of three, until it has run ``calm_after`` times."""

    def __init__(self, session: Session, calm_after: float) -> None:
        self.session, self.calm_after, self.runs = session, calm_after, 0
        self.executed_precision = session.executed_precision
        self.rng = np.random.default_rng(5)

    def infer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self.runs += 1
        time.sleep(0.002 + (0.02 * self.rng.random() if self.runs <= self.calm_after and self.runs % 3 else 0))
        return self.session.infer(inputs)


def steady(session: Session) -> Session:
    return Disturbed(session, 0)


def test_a_disturbed_latency_is_measured_longer_and_warned_of(
    model_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Every other round of INT8 is truly slowed down, as by another program."""
    original = stage.time_candidates
    rounds: list[int] = []

    def disturbed(candidates: list[Candidate], *arguments: Any) -> Any:
        changed = [
            replace(c, session=steady(c.session) if c.is_reference else Disturbed(c.session, float("inf")))
            for c in candidates
        ]
        timed = original(changed, *arguments)
        rounds.extend(len(one.timing.rounds) for one in timed)
        return timed

    monkeypatch.setattr(stage, "time_candidates", disturbed)
    calibration = quantkit.calibrate(model_path, images)
    with caplog.at_level("INFO", "quantkit"):
        compared = quantkit.compare(
            calibration, images, targets="onnxruntime", precisions="int8", rounds=ROUNDS, seconds=1.0
        )
    assert rounds == [LONGEST * ROUNDS] * 2
    assert "measuring goes on" in caplog.text
    (told,) = [warning for warning in compared.warnings if "disturbed" in warning]
    assert "of INT8 on onnxruntime, " in told
    assert "end it and compare again" in told
    fp32, int8 = compared.rows
    assert fp32.speedup_interval is None
    assert int8.speedup_interval is not None
    assert int8.speedup_interval.value == int8.speedup
    assert len(fp32.rounds_ms) == len(int8.rounds_ms) == LONGEST * ROUNDS
    low, high = int8.speedup_interval.low, int8.speedup_interval.high
    assert low is not None
    assert high is not None
    assert low <= int8.speedup <= high
    (verdict,) = gate(compared, [Rule(metric="speedup", min=(low + high) / 2)]).verdicts
    assert verdict.outcome == "inconclusive"


def test_a_quiet_latency_is_not_measured_longer(model_path: Path, images: Path, tmp_path: Path) -> None:
    recipe = Recipe.of(quantkit.calibrate(model_path, images))
    feed = Feed(1, "", {"input": np.zeros((1, 3, 16, 16), np.float32)})

    def rounds() -> int:
        candidates = []
        for precision in ("fp32", "int8"):
            artifact = Artifact("onnxruntime", precision, (model_path,))
            session = steady(OnnxRuntime().load(artifact, "CPU"))
            candidates.append(Candidate(OnnxRuntime(), artifact, session, "CPU", "", recipe, tmp_path))
        return len(time_candidates(candidates, [feed], rounds=ROUNDS, seconds=1.0)[1].timing.rounds)

    assert any(rounds() == ROUNDS for _ in range(5))  # this machine itself may be busy
