"""Where the samples of a batch lie in a model's inputs and outputs: said by the user, or inferred where it is certain.

The rules, for each input, of which the first that applies decides:

1. What the user says: one axis for all inputs with so many dimensions, or an axis or "none" by input.
2. A scalar has no batch axis, nor has a vector of one value.
3. A dimension that is named like a batch ("N", "batch_size") is it, if it is the only one.
4. The operator that reads the input: Conv and its like define their first axis as the batch, recurrent operators their
   second (first with ``layout`` 1). If they read the input behind an Unsqueeze, it has no batch axis.
5. A dynamic first dimension of several is the batch, unless it is named like something else ("sequence", "T").
6. A first dimension of 1 is a batch of one.
7. Of several dimensions, the one dynamic one is the batch if no operator mixes values along it; of fixed ones the
   first, or else the only one of which that is true.

Otherwise it is not certain: the input is taken to have none, so that samples are run one at a time and never mixed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Literal

import onnx

from quantkit.core.errors import BadConfig
from quantkit.graph.batch_trace import Shape, inferred_shapes, trace
from quantkit.graph.graph import Graph
from quantkit.graph.model_io import ModelInput, is_unnamed

NONE: Literal["none"] = "none"
BatchAxis = int | Literal["none"] | Mapping[str, int | Literal["none"]] | None
"""The user's word: an axis or "none" for all inputs, or by input; None leaves it to the model."""

BATCH = re.compile(r"n|b|bs|[\w.\-]*batch[\w.\-]*", re.IGNORECASE)
OTHER = re.compile(
    r"[tlshwc]|.*(seq|len|time|frame|step|token|height|width|chan|point|sample|word|past).*", re.IGNORECASE
)


def with_batch_axes(
    model: onnx.ModelProto, inputs: Sequence[ModelInput], outputs: Sequence[ModelInput], said: BatchAxis
) -> tuple[tuple[ModelInput, ...], tuple[ModelInput, ...]]:
    """Return inputs and outputs with their batch axes.

    Args:
        model: The model.
        inputs: Its inputs.
        outputs: Its outputs.
        said: What the user says.

    Returns:
        The inputs and the outputs.

    Raises:
        BadConfig: The user names an unknown input, or an axis that an input does not have.
    """
    known = _Inference(model, inputs, _by_input(said, inputs))
    found = tuple(replace(own, batch_axis=known.axes[own.name], certain=known.certain[own.name]) for own in inputs)
    shaped = [own if own.shape else known.shaped(own) for own in outputs]
    return found, tuple(replace(own, batch_axis=known.of_output(own)) for own in shaped)


def _by_input(said: BatchAxis, inputs: Sequence[ModelInput]) -> dict[str, int | None]:
    """Return what the user says of each input."""
    if said is None:
        return {}
    ranks = {own.name: len(own.shape) for own in inputs}
    if not isinstance(said, Mapping):
        said = {name: said for name, rank in ranks.items() if rank or said == NONE}
    for name, axis in said.items():
        if name not in ranks:
            raise BadConfig(
                f"batch_axis names {name!r}, which is no input of the model.", f"Its inputs are {', '.join(ranks)}."
            )
        if axis != NONE and not 0 <= axis < ranks[name]:
            raise BadConfig(
                f"batch_axis is {axis}, but the input {name!r} has {ranks[name]} dimensions.",
                f'Give an axis that it has, or "none"; by input: batch_axis = {{ {name} = "none" }}.',
            )
    return {name: None if axis == NONE else int(axis) for name, axis in said.items()}


class _Inference:
    """Infers the batch axes of a model's inputs."""

    def __init__(self, model: onnx.ModelProto, inputs: Sequence[ModelInput], said: Mapping[str, int | None]) -> None:
        self._model, self._inputs = model, inputs
        self._graph: Graph | None = None
        self._shapes: dict[str, Shape] | None = None
        self.axes: dict[str, int | None] = dict(said)
        self.certain = dict.fromkeys((own.name for own in inputs), True)
        for own in inputs:
            if own.name not in self.axes:
                self._infer(own)
        open_inputs = [own for own in inputs if own.name not in self.axes]
        self._prove(open_inputs)
        self._settle_sizes(said)

    def _infer(self, own: ModelInput) -> None:
        """Apply the rules about one input alone."""
        named = [axis for axis, size in enumerate(own.shape) if isinstance(size, str) and BATCH.fullmatch(size)]
        if own.shape in ((), (1,)):
            self.axes[own.name] = None
        elif len(named) == 1:
            self.axes[own.name] = named[0]
        elif not self._declared(own):
            first = own.shape[0]
            dynamic = isinstance(first, str) and not OTHER.fullmatch(first) and len(own.shape) > 1
            if dynamic or first == 1:
                self.axes[own.name] = 0

    def _declared(self, own: ModelInput) -> bool:
        """Apply what the operators that read an input define; return False if they define nothing."""
        traces = [trace(self.graph, {own.name: axis}, self.shapes) for axis in range(len(own.shape))]
        declared = [axis for axis, found in enumerate(traces) if found.declared and not found.denied]
        if len(declared) == 1:
            self.axes[own.name] = declared[0]
        elif any(found.denied for found in traces) and not any(found.declared for found in traces):
            self.axes[own.name] = None
        return own.name in self.axes

    def _prove(self, inputs: Sequence[ModelInput]) -> None:
        """Give the inputs that are still open an axis if no operator mixes values along it, else none."""
        proven: dict[str, int] = {}
        if inputs and not any(isinstance(own.shape[0], str) for own in inputs):  # "T": steps may be independent, too
            choices = [self._candidates(own) for own in inputs]
            if len(inputs) > 1:  # they have to agree
                choices = [axes[:1] for axes in choices]
            tried = [dict(zip((own.name for own in inputs), axes, strict=True)) for axes in product(*choices)]
            proofs = [axes for axes in tried if self._independent(inputs, axes)]
            if proofs and (len(proofs) == 1 or not any(proofs[0].values())):
                proven = proofs[0]
        for own in inputs:
            self.axes[own.name] = proven.get(own.name)
            self.certain[own.name] = own.name in proven

    @staticmethod
    def _candidates(own: ModelInput) -> list[int]:
        """Return the axes that may be the batch, the likeliest first: the one dynamic axis, or any."""
        if len(own.shape) == 1:  # a vector is rather one sample than many numbers
            return []
        dynamic = [axis for axis, size in enumerate(own.shape) if isinstance(size, str)]
        return dynamic if len(dynamic) == 1 else [] if dynamic else list(range(len(own.shape)))

    def _independent(self, inputs: Sequence[ModelInput], axes: Mapping[str, int]) -> bool:
        """True if no operator mixes values along these axes, which are of one size."""
        known = {name: axis for name, axis in self.axes.items() if axis is not None}
        sizes = {own.shape[axes[own.name]] for own in inputs}
        return len(sizes) == 1 and not trace(self.graph, known | dict(axes), self.shapes).mixed

    def _settle_sizes(self, said: Mapping[str, int | None]) -> None:
        """Of inputs with fixed batches of different sizes, those of one are the same for all samples."""
        sizes = {own.name: own.shape[axis] for own in self._inputs if (axis := self.axes[own.name]) is not None}
        numbers = {size for size in sizes.values() if isinstance(size, int)}
        if len(numbers) > 1:
            for name, size in sizes.items():
                if size == 1 and name not in said:
                    self.axes[name] = None

    @property
    def graph(self) -> Graph:
        """The graph."""
        if self._graph is None:
            self._graph = Graph(self._model.graph)
        return self._graph

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shapes of all tensors, as far as they are known."""
        if self._shapes is None:
            self._shapes = inferred_shapes(self._model)
        return self._shapes

    def shaped(self, output: ModelInput) -> ModelInput:
        """Return an output that declares no shape with the shape that onnx infers, if it does."""
        shape = self.shapes.get(output.name, ())
        return replace(output, shape=tuple(size or f"dim_{axis}" for axis, size in enumerate(shape)))

    def of_output(self, output: ModelInput) -> int | None:
        """Return the batch axis of an output: that of the same symbol, or where the inputs' axes end, or a guess."""
        axes = [(own, axis) for own in self._inputs if (axis := self.axes[own.name]) is not None]
        if not axes:
            return 0 if output.shape[:1] in ((), (1,)) else None
        sizes = [own.shape[axis] for own, axis in axes]
        symbols = [size for size in sizes if isinstance(size, str) and not is_unnamed(size)]
        named = [axis for axis, size in enumerate(output.shape) if size in symbols]
        if len(named) == 1:
            return named[0]
        found = trace(self.graph, {own.name: axis for own, axis in axes}, self.shapes).axes
        if output.name in found:
            return found[output.name]
        if not output.shape:  # unknown: the output shows it
            return 0
        first = output.shape[0]
        if isinstance(first, str):
            return 0 if any(isinstance(size, str) for size in sizes) and (is_unnamed(first) or not symbols) else None
        return 0 if first in sizes or (first == 1 and any(isinstance(size, str) for size in sizes)) else None
