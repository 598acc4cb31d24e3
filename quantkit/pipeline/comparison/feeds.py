"""The inputs that latency is measured with: of the data's most common shape, or of shapes that the user names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadConfig, BadModel
from quantkit.datasets import Batch
from quantkit.graph.model_file import ModelFile
from quantkit.graph.model_io import ModelInput, fits, is_unnamed
from quantkit.runtime.reference import ReferenceSession

Shapes = Mapping[str, tuple[int, ...]]
"""The shapes of inputs by name, with the batch axis."""

SYNTAX = "Write it like input_ids=1x64, or ids=1x64,mask=1x64 for several inputs; the batch is part of it."


@dataclass(frozen=True)
class Feed:
    """The inputs of one run.

    Attributes:
        batch: The number of samples.
        shape: The shape in the words of ``--shape``; empty if the model's shapes leave no choice but the batch.
        inputs: The arrays by input.
    """

    batch: int
    shape: str
    inputs: Mapping[str, npt.NDArray[Any]]


def parse_shapes(text: str) -> dict[str, tuple[int, ...]]:
    """Parse one ``--shape`` into shapes by input. Raises BadConfig for any other form."""
    found: dict[str, tuple[int, ...]] = {}
    for part in text.split(","):
        name, _, sizes = part.strip().rpartition("=")
        if not name or name in found or not re.fullmatch(r"[1-9]\d{0,8}(x[1-9]\d{0,8})*", sizes):
            raise BadConfig(f"The shape {text!r} cannot be read.", SYNTAX)
        found[name] = tuple(map(int, sizes.split("x")))
    return found


def check_named(model: ModelFile, texts: Sequence[str], sample: Batch | None) -> list[int]:
    """Check that the model takes the shapes that the user names, before anything is exported or built.

    Args:
        model: The user's model, which is run once for each shape.
        texts: The texts of ``--shape``.
        sample: Any sample; None only checks the shapes against those that the model declares.

    Returns:
        The batch sizes of the shapes.

    Raises:
        BadConfig: A shape cannot be read, does not fit the declared one, or the model fails on it.
    """
    sizes = list(dict.fromkeys(_fitting(model, text)[1] for text in texts))
    if sample is None:
        return sizes
    feeds = [named_feed(model, text, sample) for text in texts]
    session = ReferenceSession.of(model)
    for text, feed in zip(texts, feeds, strict=True):
        try:
            session.infer(feed.inputs)
        except BadModel as error:
            raise BadConfig(
                f"The model cannot be run at the shape {text}: {error.what}",
                "Give a shape that it takes; it may need the shapes of more inputs.",
            ) from error
    return sizes


def named_feed(model: ModelFile, text: str, samples: Batch) -> Feed:
    """Make inputs of a shape that the user names.

    An input that is not named keeps the shape of the samples, but for the batch, and for dimensions whose names occur
    in a shape that is given. Values are those of the samples, repeated or cut along each axis.

    Args:
        model: The user's model.
        text: The text of ``--shape``.
        samples: Any samples.

    Returns:
        The inputs.

    Raises:
        BadConfig: The shape does not fit the model.
    """
    given, batch, sizes = _fitting(model, text)
    inputs: dict[str, npt.NDArray[Any]] = {}
    for own in model.inputs:
        array = samples.inputs[own.name]
        shape = given.get(own.name)
        if shape is None:
            named = [sizes.get(str(size), old) for size, old in zip(own.shape, array.shape, strict=True)]
            shape = _with_batch(own, tuple(named), batch)
        for axis, size in enumerate(shape):
            if size != array.shape[axis]:
                array = np.take(array, np.arange(size) % max(array.shape[axis], 1), axis)
        inputs[own.name] = np.ascontiguousarray(array)
    return Feed(batch, text, inputs)


def common_feed(model: ModelFile, samples: Batch, batch: int) -> Feed:
    """Make inputs of so many samples, and describe their shape if it depends on the data.

    Args:
        model: The user's model.
        samples: Samples of the most common shape; they are repeated or left out.
        batch: The batch size.

    Returns:
        The inputs.
    """
    inputs = samples.resized(batch)
    said: set[str] = set()
    parts = []
    for own in model.inputs:
        free = {str(size) for axis, size in enumerate(own.shape) if isinstance(size, str) and axis != own.batch_axis}
        if any(is_unnamed(size) for size in free) or not free <= said:
            parts.append(f"{own.name}={'x'.join(map(str, inputs[own.name].shape))}")
        said |= free
    return Feed(batch, ",".join(parts), inputs)


def _fitting(model: ModelFile, text: str) -> tuple[Shapes, int, dict[str, int]]:
    """Return the given shapes, their batch, and the sizes of the dimensions that have names."""
    given, inputs = parse_shapes(text), {own.name: own for own in model.inputs}
    batches: set[int] = set()
    sizes: dict[str, int] = {}
    for name, shape in given.items():
        own = inputs.get(name)
        if own is None:
            raise BadConfig(f"The model has no input {name!r}.", f"Give the shape of one of: {', '.join(inputs)}.")
        if not fits(shape, own.shape):
            raise BadConfig(
                f"The shape {text} does not fit the input {name!r}, which takes {' x '.join(map(str, own.shape))}.",
                SYNTAX,
            )
        for axis, (size, value) in enumerate(zip(own.shape, shape, strict=True)):
            if axis == own.batch_axis:
                batches.add(value)
            elif isinstance(size, str) and not is_unnamed(size) and sizes.setdefault(size, value) != value:
                raise BadConfig(f"The shape {text} gives the dimension {size!r} two sizes.", SYNTAX)
    fixed = model.fixed_batch
    batches |= {fixed} if fixed is not None else set()
    if len(batches) > 1:
        raise BadConfig(f"The shape {text} has the batches {', '.join(map(str, sorted(batches)))}.", "Give one.")
    return given, next(iter(batches), 1), sizes


def _with_batch(own: ModelInput, shape: tuple[int, ...], batch: int) -> tuple[int, ...]:
    axis = own.batch_axis
    return shape if axis is None else (*shape[:axis], batch, *shape[axis + 1 :])
