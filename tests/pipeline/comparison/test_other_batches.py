"""A candidate that computes something else at another batch size than where its accuracy was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from quantkit.core.artifact import Artifact
from quantkit.core.errors import BadModel
from quantkit.datasets import Batch
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.comparison.feeds import Feed
from quantkit.pipeline.comparison.other_batches import OtherBatches, check_other_batches
from quantkit.pipeline.comparison.reference import Reference
from quantkit.targets.tensorrt import TensorRT
from tests.gates.builders import row

SAMPLES = Batch({"x": np.random.default_rng(0).standard_normal((1, 8)).astype(np.float32)}, [0])
FEEDS = [Feed(size, "", SAMPLES.resized(size)) for size in (1, 4)]


class Doubled:
    """Computes 2x, and which is greatest; at some batch sizes with as much noise as a wrong kernel may make."""

    executed_precision = "f16"

    def __init__(self, fixed: bool = False, noise: dict[int, float] | None = None, rows: int | None = None) -> None:
        self.fixed, self.noise, self.rows = fixed, noise or {}, rows

    def infer(self, inputs: Any) -> dict[str, npt.NDArray[Any]]:
        x = inputs["x"]
        if self.fixed and len(x) != 1:
            raise BadModel("The batch is fixed.", "Export it again.")
        y = 2 * x + self.noise.get(len(x), 0.0) * x[:, ::-1]
        return {"y": y, "top": y.argmax(axis=1), "kept": y[: self.rows]}


def checked(session: Doubled, reference: Doubled | None = None, precision: str = "fp16") -> OtherBatches:
    artifact = Artifact("tensorrt", precision, (Path("model.engine"),))
    one = Candidate(TensorRT(), artifact, session, "cuda:0", "", None, Path())  # type: ignore[arg-type]
    axes = {"y": 0, "top": 0, "kept": 0}
    return check_other_batches([one], FEEDS, SAMPLES, Reference(reference or Doubled(), _axes=axes), 1)


def test_a_wrong_batch_is_named_with_its_figures() -> None:
    found = checked(Doubled(noise={4: 2.0}))
    (warning,) = found.warnings
    assert warning.startswith("tensorrt FP16 computes the same sample otherwise at batch 4 than at batch 1 (output 'y'")
    assert "no noise at batch 1" in warning
    ((key, errors),) = found.outputs.items()
    assert key[1] == 4
    assert (errors[0].sqnr_db or 0.0) < 3


@pytest.mark.parametrize(
    ("noise", "precision", "told"),
    [
        ({}, "fp16", False),
        ({1: 2.0, 4: 2.0}, "int8", False),  # the row tells so
        ({1: 0.2, 4: 0.1}, "int8", False),
        ({4: 0.1}, "int8", False),  # INT8 of another batch size rounds otherwise
        ({4: 0.1}, "fp32", True),  # FP32 does not
        ({4: 0.001}, "fp32", False),
    ],
)
def test_the_same_sample_is_compared(noise: dict[int, float], precision: str, told: bool) -> None:
    assert bool(checked(Doubled(noise=noise), precision=precision).warnings) == told


def test_a_reference_of_one_batch_checks_nothing() -> None:
    assert not checked(Doubled(noise={4: 2.0}), Doubled(fixed=True)).warnings


@pytest.mark.parametrize("rows", [0, 2])
def test_outputs_without_a_row_for_each_sample_are_left_out(rows: int) -> None:
    """As behind a NonMaxSuppression, of which INT8 may keep others than FP32."""
    (warning,) = checked(Doubled(noise={4: 2.0}, rows=rows)).warnings
    assert "output 'y'" in warning
    assert not checked(Doubled(rows=rows)).warnings
    assert not checked(Doubled(), Doubled(rows=rows)).warnings


def test_the_row_of_that_batch_has_the_figures_of_that_batch() -> None:
    found = checked(Doubled(noise={4: 2.0}))
    one = row("tensorrt", "fp16", device="cuda:0", batch=1, sqnr_db=60.0)
    assert found.corrected(one) == one
    told = found.corrected(one.model_copy(update={"batch": 4}))
    assert (told.sqnr_db or 0.0) < 3
    assert told.outputs == found.outputs[one.key, 4]
