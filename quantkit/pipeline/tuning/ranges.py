"""Chooses the range of each tensor among those that the calibration's methods found, by its effect on the output.

Each alternative is simulated with everything else quantized as it is. All tensors that gain are changed together, and
the half that gains most if all together do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from quantkit.core.progress import Progress
from quantkit.core.ranges import TensorRange
from quantkit.core.recipe import Recipe
from quantkit.datasets import Stream
from quantkit.graph.model_file import ModelFile
from quantkit.pipeline.simulation.differences import Grid
from quantkit.pipeline.simulation.evaluate import Case, noise_of
from quantkit.pipeline.simulation.simulation import Simulation, Variant
from quantkit.qdq.insertion import affine
from quantkit.qdq.placement import SMALLEST_SCALE

ALIKE = 0.02  # ranges closer than this, relative to their width, are one
GAIN = 0.003  # of the output's noise that a range must take away to be chosen


@dataclass(frozen=True)
class Alternative:
    """Another range for a tensor: the method that found it, and the grid that it gives."""

    tensor: str
    method: str
    range: TensorRange
    grid: Grid


def tuned_ranges(
    simulation: Simulation, recipe: Recipe, stream: Stream, model: ModelFile, progress: Progress
) -> list[tuple[Recipe, dict[str, str]]]:
    """Find better ranges.

    Args:
        simulation: The recipe, simulated.
        recipe: The recipe.
        stream: The samples.
        model: The user's model.
        progress: Displays the progress.

    Returns:
        Recipes to try, the most promising first, each with the methods of the tensors that it changes; none if no
        range is better.
    """
    found = alternatives(simulation, recipe)
    cases = [Case(True), *(Case(True, Variant(grids={own.tensor: own.grid})) for own in found)]
    noise = [worst(each) for each in noise_of(simulation, cases, stream, model, progress)]
    best: dict[str, tuple[float, Alternative]] = {}
    for own, left in zip(found, noise[1:], strict=True):
        gain = (noise[0] - left) / max(noise[0], np.finfo(np.float64).tiny)
        if gain > GAIN and gain > best.get(own.tensor, (0.0, own))[0]:
            best[own.tensor] = gain, own
    ordered = [own for _, own in sorted(best.values(), key=lambda item: -item[0])]
    sizes = list(dict.fromkeys(size for size in (len(ordered), -(-len(ordered) // 2), -(-len(ordered) // 4)) if size))
    together = [Case(True, Variant(grids={own.tensor: own.grid for own in ordered[:size]})) for size in sizes]
    if not together:
        return []
    joint = [worst(each) for each in noise_of(simulation, together, stream, model, progress)]
    ranked = sorted(zip(joint, sizes, strict=True))
    return [_with(recipe, ordered[:size]) for left, size in ranked if left < noise[0]]


def worst(noise: Mapping[str, float]) -> float:
    """Return the noise of the worst output, relative to the output."""
    return max(noise.values(), default=0.0)


def _with(recipe: Recipe, chosen: list[Alternative]) -> tuple[Recipe, dict[str, str]]:
    ranges = {**recipe.ranges, **{own.tensor: own.range for own in chosen}}
    return replace(recipe, ranges=ranges), {own.tensor: own.method for own in chosen}


def alternatives(simulation: Simulation, recipe: Recipe) -> list[Alternative]:
    """Return the other ranges of tensors that are rounded to just their own range.

    Tensors that share a scale with others, or whose range a dialect changes, have no alternatives.
    """
    found: list[Alternative] = []
    for name, grid in simulation.grids.items():
        own, tensor = recipe.ranges.get(name), recipe.calibration.tensors.get(name)
        if own is None or tensor is None or grid != _grid(own, grid.signed):
            continue
        seen = [own]
        for method, candidate in tensor.candidates.items():
            if any(_alike(candidate, other) for other in seen):
                continue
            seen.append(candidate)
            found.append(Alternative(name, method, candidate, _grid(candidate, grid.signed)))
    return found


def _grid(own: TensorRange, signed: bool) -> Grid:
    if signed:
        return Grid.of(np.float32(max(own.scale, SMALLEST_SCALE)), np.int8(0))
    return Grid.of(*affine(own))


def _alike(a: TensorRange, b: TensorRange) -> bool:
    width = max(a.high - a.low, b.high - b.low)
    return abs(a.low - b.low) + abs(a.high - b.high) <= ALIKE * width and abs(a.amax - b.amax) <= ALIKE * a.amax
