"""A candidate that computes something else at another batch size than where its accuracy was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from quantkit.core.artifact import Artifact
from quantkit.core.errors import BadModel
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.comparison.feeds import Feed
from quantkit.pipeline.comparison.other_feeds import feed_warnings
from quantkit.pipeline.comparison.reference import Reference
from quantkit.targets.tensorrt import TensorRT

X = np.random.default_rng(0).standard_normal((1, 8)).astype(np.float32)
FEEDS = [Feed(size, "", {"x": np.repeat(X, size, axis=0)}) for size in (1, 4)]


class Doubled:
    """Computes 2x; at one batch size as wrongly as an engine whose profile has a wrong kernel."""

    executed_precision = "f16"

    def __init__(self, wrong_at: int = 0, fixed: bool = False) -> None:
        self.wrong_at, self.fixed = wrong_at, fixed

    def infer(self, inputs: Any) -> dict[str, npt.NDArray[Any]]:
        x = inputs["x"]
        if self.fixed and len(x) != 1:
            raise BadModel("The batch is fixed.", "Export it again.")
        return {"y": x[:, ::-1] if len(x) == self.wrong_at else x * 2}


def candidate(session: Doubled) -> Candidate:
    artifact = Artifact("tensorrt", "fp16", (Path("model.engine"),))
    return Candidate(TensorRT(), artifact, session, "cuda:0", "", None, Path())  # type: ignore[arg-type]


@pytest.mark.parametrize(("wrong_at", "told"), [(0, False), (4, True), (1, False)])
def test_another_batch_is_compared_with_the_reference(wrong_at: int, told: bool) -> None:
    """What is wrong where accuracy is measured is in the row, and needs no other warning."""
    one = candidate(Doubled(wrong_at))
    reference = Reference(Doubled(), _axes={"y": 0})
    found = feed_warnings([one], FEEDS, reference, {one.key: 60.0}, 1)
    assert bool(found) == told
    if told:
        assert found[0].startswith("tensorrt FP16 computes something else at batch 4 than at batch 1")
        assert "60.0 dB there" in found[0]


def test_a_row_that_is_noise_anyway_is_not_named_again() -> None:
    one = candidate(Doubled(4))
    assert not feed_warnings([one], FEEDS, Reference(Doubled(), _axes={"y": 0}), {one.key: -1.0}, 1)


def test_a_reference_that_takes_no_other_batch_checks_nothing() -> None:
    one = candidate(Doubled(4))
    assert not feed_warnings([one], FEEDS, Reference(Doubled(fixed=True), _axes={"y": 0}), {one.key: 60.0}, 1)
