"""The user's model as a version of TensorRT reads it: in an opset that it knows, in nodes that it computes rightly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import TargetRefuses
from quantkit.graph.model_file import ModelFile
from quantkit.runtime.reference import ReferenceSession
from quantkit.targets.tensorrt.handoff import FLOAT_FILE
from quantkit.targets.tensorrt.opsets import Reads
from quantkit.targets.tensorrt.unbinds import misread_by, without_unbinds
from quantkit.transforms.opset import at_opset

UNBOUND = (
    "The model's Splits into single parts are Gathers in these files, because TensorRT 8.6 computes an attention of "
    f"such parts wrongly at batch 1. Build FP32, and FP16 by a flag, from {FLOAT_FILE}, not from the model itself."
)
TOLERANCE = 1e-5  # of the largest value: the same operators in the same order, perhaps by another kernel


def readable(
    model: ModelFile, reads: Reads, sample: Mapping[str, npt.NDArray[Any]] | None
) -> tuple[ModelFile, tuple[str, ...]]:
    """Return the model in an opset that a version reads, and without what it misreads.

    Args:
        model: The user's model.
        reads: What the version reads.
        sample: One run's inputs, on which a changed model has to compute the same; None computes nothing.

    Returns:
        The model itself if nothing is in the way, else a temporary copy that computes the same; and what was changed.

    Raises:
        TargetRefuses: There is no such copy.
    """
    newest, told = reads.newest_opset, []
    made = model if newest is None else at_opset(model, newest, reads.name)
    if made.opset != model.opset:
        told.append(f"Opset {model.opset} was converted to {made.opset} for {reads.name}.")
    bound = without_unbinds(made) if misread_by(reads.release) else made
    if bound is not made:
        told.append(UNBOUND)
    if bound is not model and sample is not None:
        given, found = (ReferenceSession(own.source).infer(sample) for own in (model, bound))
        wrong = [name for name in given if not _equal(given[name], found.get(name))]
        if wrong and made is not model:
            raise TargetRefuses(
                f"{reads.name} reads up to opset {newest}; {model.path} has {model.opset}, and computes another "
                f"{wrong[0]!r} after ONNX's conversion.",
                f"Export it with opset {newest} or older.",
            )
        if wrong:
            raise TargetRefuses(
                f"{model.path} computes another {wrong[0]!r} with Gathers in place of its Splits.",
                "That is a fault of quantkit: report it. For TensorRT 10 and newer name it (--tensorrt, tensorrt=).",
            )
    return bound, tuple(told)


def _equal(one: Any, other: Any) -> bool:
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return type(one) is type(other)  # a sequence of tensors
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    largest = float(np.abs(one[np.isfinite(one)]).max(initial=0.0))
    return bool(np.allclose(one, other, rtol=0, atol=TOLERANCE * largest, equal_nan=True))
