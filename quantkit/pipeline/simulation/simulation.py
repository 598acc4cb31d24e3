"""Runs a Q/DQ model with any part of its rounding left out or changed.

A baseline computes a batch with nothing rounded, or with everything, and keeps what passes from segment to segment. A
variant of it then computes only the segments that its change reaches.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.core.errors import BadModel, TargetRefuses
from quantkit.core.recipe import Recipe
from quantkit.core.wording import line_of
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile
from quantkit.graph.save import LARGEST_SINGLE_FILE
from quantkit.pipeline.simulation.differences import OUTPUT, Grid, differences
from quantkit.pipeline.simulation.rounding import rounded
from quantkit.pipeline.simulation.segments import Feed, Segment, segments_of
from quantkit.pipeline.simulation.units import Unit, units_of
from quantkit.runtime.out_of_reach import out_of_reach, reduced
from quantkit.runtime.session import give_back_memory
from quantkit.targets import Target


@dataclass(frozen=True)
class Variant:
    """A change to a baseline.

    Attributes:
        apart: The numbers of the units that are not as all others: quantized where nothing else is, in floating point
            where everything else is quantized.
        grids: Tensors that are rounded to another grid, or not at all (None), wherever they are read rounded. Where
            nothing is quantized, these tensors are rounded all the same; where everything is, units that are
            ``apart`` read them unrounded.
    """

    apart: frozenset[int] = frozenset()
    grids: Mapping[str, Grid | None] = field(default_factory=dict)


AS_IT_IS = Variant()


class Simulation:
    """A quantized model whose rounding can be left out or changed in parts. It may be used by several threads.

    Args:
        floating: The floating-point model; of both, what onnxruntime cannot compute is removed.
        quantized: The Q/DQ model that was made from it.
        optimized: False computes node by node, as the graphs say: to the bit what onnxruntime makes of the Q/DQ model
            when it optimizes nothing, and more slowly.

    Attributes:
        units: The units that can be quantized one by one, in the graph's order.
        grids: The grid of each tensor that is read rounded.

    Raises:
        TargetRefuses: The Q/DQ model has no counterpart for a node, or rounds nothing.
        BadModel: onnxruntime cannot compute a part of the model.
    """

    def __init__(self, floating: onnx.ModelProto, quantized: onnx.ModelProto, optimized: bool = True) -> None:
        floating, quantized = (reduced(own, out_of_reach(own), given_too=True) for own in (floating, quantized))
        found = differences(floating, quantized)
        units = units_of(Graph(floating.graph), found)
        if not units.units:
            raise TargetRefuses("Nothing of this model is in INT8, so that no layer loses accuracy.", "Exclude less.")
        self.units: tuple[Unit, ...] = units.units
        self.grids: dict[str, Grid] = {read.tensor: read.grid for read in found.reads}
        self._segments: list[Segment] = segments_of(floating, found, units, optimized)
        at_end = {read.tensor: read for read in found.reads if read.node == OUTPUT}
        self._outputs = tuple(
            Feed(name, name, at_end.get(name), units.of_read[at_end[name]] if name in at_end else -1)
            for name in (value.name for value in floating.graph.output)
        )

    @classmethod
    def of(cls, model: ModelFile, recipe: Recipe, target: Target, optimized: bool = True) -> Simulation:
        """Simulate a target's INT8.

        Args:
            model: The user's model.
            recipe: The ranges, exclusions and weights.
            target: The target.
            optimized: False computes node by node.

        Returns:
            The simulation.

        Raises:
            TargetRefuses: The target has no Q/DQ model, cannot express this one, or quantizes nothing of it.
            BadModel: onnxruntime cannot compute a part of the model.
        """
        own = model.with_weights(recipe.weights)
        quantized = _compact(target.quantized(own, recipe).proto)
        return cls(_compact(target.floating(own, recipe).proto), quantized, optimized)

    def batch_axes(self, model: ModelFile) -> dict[str, int | None]:
        """Return the batch axis of each of the model's outputs that is computed."""
        computed = {feed.name for feed in self._outputs}
        return {output.name: output.batch_axis for output in model.outputs if output.name in computed}

    def baseline(self, inputs: Mapping[str, npt.NDArray[Any]], quantized: bool) -> Baseline:
        """Compute a batch with everything quantized, or nothing.

        Args:
            inputs: The arrays of the batch, by input.
            quantized: True to quantize everything.

        Returns:
            The baseline.

        Raises:
            BadModel: The model fails on the batch.
        """
        return Baseline(self, inputs, quantized)


class Baseline:
    """A batch computed with everything quantized, or nothing, to compute variants of.

    Attributes:
        outputs: The model's outputs, by name.
        bytes: How much memory the kept tensors take.
    """

    def __init__(self, simulation: Simulation, inputs: Mapping[str, npt.NDArray[Any]], quantized: bool) -> None:
        self._own, self._quantized = simulation, quantized
        given = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        self._values = self._computed(AS_IT_IS, {}, given, keep=True)
        self.outputs = self._fetched(AS_IT_IS, self._values)
        self.bytes = sum(value.nbytes for value in self._values.values())

    def variant(self, variant: Variant) -> dict[str, npt.NDArray[Any]]:
        """Return the outputs of a variant, by name. Raises BadModel if the model fails on the batch."""
        return self._fetched(variant, ChainMap(self._computed(variant, self._values, {}), self._values))

    def _computed(
        self,
        variant: Variant,
        known: Mapping[str, npt.NDArray[Any]],
        changed: dict[str, npt.NDArray[Any]],
        keep: bool = False,
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the tensors that a variant computes otherwise, without those that no segment is left to read."""
        rounds: dict[tuple[str, Grid], npt.NDArray[Any]] = {}
        for segment in self._own._segments:
            if not keep and not self._is_reached(segment, variant, changed):
                continue
            feeds = {}
            for feed in segment.feeds:
                value = changed[feed.tensor] if feed.tensor in changed else known[feed.tensor]
                grid = self._grid(feed, variant)
                if grid is not None:
                    key = feed.tensor, grid
                    if key not in rounds:
                        rounds[key] = rounded(value, grid)
                    value = rounds[key]
                feeds[feed.name] = value
            own = segment.quantized if self._quantized != (segment.unit in variant.apart) else segment.floating
            try:
                found = own.run(list(segment.outputs), feeds)
            except Exception as error:
                raise BadModel(
                    f"The model failed in onnxruntime, computed layer by layer ({line_of(error)}).",
                    "Check the data against the model.",
                ) from error
            changed |= zip(segment.outputs, found, strict=True)
            for key in [key for key in rounds if key[0] in segment.last]:
                del rounds[key]
            if not keep:
                for name in segment.last:
                    changed.pop(name, None)
        return changed

    @staticmethod
    def _is_reached(segment: Segment, variant: Variant, changed: Mapping[str, npt.NDArray[Any]]) -> bool:
        """True if a variant changes a segment itself, or what it reads."""
        return segment.unit in variant.apart or any(
            feed.tensor in changed or feed.owner in variant.apart or feed.tensor in variant.grids
            for feed in segment.feeds
        )

    def _grid(self, feed: Feed, variant: Variant) -> Grid | None:
        """Return the grid that an input of a segment is rounded to; None if it is not."""
        if feed.read is None:
            return None
        on = self._quantized != (feed.owner in variant.apart)
        if feed.tensor in variant.grids and (on or not self._quantized):
            return variant.grids[feed.tensor]
        return feed.read.grid if on else None

    def _fetched(self, variant: Variant, values: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        found = {}
        for feed in self._own._outputs:
            grid, value = self._grid(feed, variant), values[feed.tensor]
            found[feed.name] = value if grid is None else rounded(value, grid)
        return found


def _compact(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy without what earlier edits left in the message's memory, which is several times a model's size."""
    if model.ByteSize() > LARGEST_SINGLE_FILE:
        return model
    data = model.SerializeToString()
    model.Clear()
    del model
    give_back_memory()
    return onnx.ModelProto.FromString(data)
