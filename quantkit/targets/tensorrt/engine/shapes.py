"""The input shapes that an engine is optimized for: ``--shape input=1x3x224x224:8x3x224x224:32x3x224x224``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from quantkit.core.errors import BadConfig
from quantkit.graph.model_file import ModelFile
from quantkit.graph.model_io import ModelInput

Shape = tuple[int, ...]
SYNTAX = "Write it like input=1x3x224x224:8x3x224x224:32x3x224x224 (least, best, largest), or input=8x3x224x224."


@dataclass(frozen=True)
class ShapeRange:
    """The smallest, the best and the largest shape of one input. TensorRT is fastest at the best shape."""

    least: Shape
    best: Shape
    largest: Shape

    def holds(self, shape: Sequence[int]) -> bool:
        """True if a shape is in the range."""
        return len(shape) == len(self.least) and all(
            low <= size <= high for low, size, high in zip(self.least, shape, self.largest, strict=True)
        )

    def __str__(self) -> str:
        return ":".join("x".join(map(str, shape)) for shape in dict.fromkeys((self.least, self.best, self.largest)))


Profile = Mapping[str, ShapeRange]  # by input


def parse_shape(text: str) -> tuple[str, ShapeRange]:
    """Parse one ``--shape`` into the input's name and its shapes. Input names may contain ``=`` and ``:``.

    Raises:
        BadConfig: The text has another form, or the shapes do not rise.
    """
    name, separator, shapes = text.rpartition("=")
    if not separator or not name or not re.fullmatch(r"\d{1,9}(x\d{1,9})*(:\d{1,9}(x\d{1,9})*){0,2}", shapes):
        raise BadConfig(f"The shape {text!r} cannot be read.", SYNTAX)
    parsed = [tuple(map(int, shape.split("x"))) for shape in shapes.split(":")]
    least, best, largest = (parsed * 3)[:3] if len(parsed) != 2 else (parsed[0], parsed[1], parsed[1])
    found = ShapeRange(least, best, largest)
    if 0 in least or len(least) != len(largest) or not found.holds(best):
        raise BadConfig(
            f"The shape {text!r} does not rise from least to best to largest, in as many dimensions of 1 or more.",
            SYNTAX,
        )
    return name, found


def profiles_for(
    model: ModelFile, shapes: Sequence[str], batches: Sequence[int], seen: Mapping[str, Sequence[int]] | None = None
) -> list[Profile]:
    """Make the optimization profiles of an engine.

    With ``shapes``, there is one profile of them, and another for each of ``batches`` that it does not hold. Without,
    there is one for each of ``batches``, of exactly that batch.

    Args:
        model: The model.
        shapes: The texts of ``--shape``.
        batches: The batch sizes that will be run.
        seen: The shapes of one calibrated sample by input, which dynamic dimensions beside the batch are taken from.

    Returns:
        The profiles.

    Raises:
        BadConfig: The shapes do not fit the model.
    """
    given = dict(map(parse_shape, shapes))
    unknown = [name for name in given if name not in {i.name for i in model.inputs}]
    if unknown:
        names = ", ".join(repr(i.name) for i in model.inputs)
        raise BadConfig(f"The model has no input {unknown[0]!r}.", f"Give the shape of one of: {names}.")
    if len(given) < len(shapes):
        raise BadConfig("An input's shape is given twice.", "Give each once.")
    for own in model.inputs:
        if own.name in given:
            _check(own, given[own.name])
    settled = [_as_seen(own, (seen or {}).get(own.name, ())) for own in model.inputs]
    if given:
        batch_range = _batches_of(model, given)
        profile = {own.name: given.get(own.name) or _of_batches(own, batch_range) for own in settled}
        beyond = [size for size in batches if not batch_range[0] <= size <= batch_range[2]]
        return [profile, *([] if model.fixed_batch else (_resized(profile, size, model) for size in beyond))]
    sizes = [model.fixed_batch] if model.fixed_batch else list(dict.fromkeys(batches))
    return [{own.name: _of_batches(own, (size, size, size)) for own in settled} for size in sizes]


def _as_seen(own: ModelInput, seen: Sequence[int]) -> ModelInput:
    """Return an input whose dynamic dimensions beside the batch are those of a calibrated sample."""
    if len(seen) != len(own.shape):
        return own
    shape = tuple(
        size if isinstance(size, int) or axis == own.batch_axis else seen[axis] for axis, size in enumerate(own.shape)
    )
    return replace(own, shape=shape)


def _batches_of(model: ModelFile, given: Profile) -> tuple[int, int, int]:
    """Return the least, best and largest batch of the first given shape that has a batch axis."""
    for own in model.inputs:
        if own.name in given and own.batch_axis is not None:
            shapes = given[own.name]
            return shapes.least[own.batch_axis], shapes.best[own.batch_axis], shapes.largest[own.batch_axis]
    return (1, 1, 1)


def _resized(profile: Profile, batch: int, model: ModelFile) -> Profile:
    """Return a profile of the best shapes of another profile, for exactly this batch."""
    return {own.name: ShapeRange(*[_with_batch(own, profile[own.name].best, batch)] * 3) for own in model.inputs}


def _with_batch(own: ModelInput, shape: Shape, batch: int) -> Shape:
    """Return a shape with its batch replaced; an input without a batch axis keeps its shape."""
    axis = own.batch_axis
    return shape if axis is None else (*shape[:axis], batch, *shape[axis + 1 :])


def _of_batches(own: ModelInput, batches: tuple[int, ...]) -> ShapeRange:
    free = [dimension for dimension in own.sample_shape if isinstance(dimension, str)]
    if free:
        raise BadConfig(
            f"The input {own.name!r} has dynamic dimensions beside the batch ({', '.join(free)}).",
            f"Give its shapes (--shape, shapes=). {SYNTAX}",
        )
    if not isinstance(own.batch, str):
        return ShapeRange(*[(*map(int, own.shape),)] * 3)
    fixed = tuple(0 if isinstance(dimension, str) else dimension for dimension in own.shape)  # the batch alone is 0
    return ShapeRange(*(_with_batch(own, fixed, batch) for batch in batches))


def _check(own: ModelInput, given: ShapeRange) -> None:
    fits = len(given.least) == len(own.shape) and all(
        isinstance(declared, str) or declared == low == high
        for declared, low, high in zip(own.shape, given.least, given.largest, strict=True)
    )
    if not fits:
        declared = "x".join(map(str, own.shape))
        raise BadConfig(f"The shape {given} does not fit the input {own.name!r} ({declared}).", SYNTAX)
