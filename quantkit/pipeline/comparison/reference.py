"""The reference of a comparison: the user's own FP32 model in onnxruntime, whatever targets are measured.

Where onnxruntime does not have all operators, such as TensorRT's plugins, it is FP32 on the first target that has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadModel, QuantkitError
from quantkit.core.wording import some
from quantkit.datasets import Batch
from quantkit.graph.concatenated import Joined, joined, labels
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile
from quantkit.measure.sqnr import Parts
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.runtime.layer_outputs import OnnxOutputs
from quantkit.runtime.out_of_reach import out_of_reach
from quantkit.runtime.reference import ReferenceSession
from quantkit.targets import Session
from quantkit.tasks import Outputs

KINDS_APART = 30.0  # the ratio of magnitudes from which channels are of different kinds
MOST_CHANNELS = 512  # along an axis that is looked at for kinds
MOST_KINDS = 8


@dataclass(frozen=True)
class Reference:
    """FP32 in onnxruntime, or where that lacks operators.

    Attributes:
        session: The loaded model.
        model: The user's model; None knows neither names nor axes of outputs.
        key: The key of the candidate that it is; empty if it is none of them.
        warnings: What it is, if it is not the whole model in onnxruntime.
    """

    session: Session
    model: ModelFile | None = None
    key: str = ""
    _axes: Mapping[str, int | None] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, model: ModelFile, candidates: Sequence[Candidate]) -> Reference:
        """Return the candidate that is the reference, or load it."""
        axes = {output.name: output.batch_axis for output in model.outputs}
        for candidate in candidates:
            if candidate.is_reference and candidate.target.is_reference:
                return cls(candidate.session, model, candidate.key, axes)
        out = out_of_reach(model.graph_only, model.source)
        for candidate in candidates:
            if candidate.is_reference and out.nodes:
                name = candidate.target.name
                warning = f"onnxruntime does not have {some(out.operators)}: all is compared with FP32 of {name}."
                return cls(candidate.session, model, candidate.key, axes, (warning,))
        warnings: tuple[str, ...] = ()
        if out.nodes:
            what = f"onnxruntime does not have {some(out.operators)}"
            warnings = (f"{what}: what is given to that, and to the layers behind it, is compared.",)
            axes = {name: axes[name] for name in out.outputs}  # no other tensor is taken for an output
        return cls(ReferenceSession.of(model), model, "", axes, warnings)

    def by_sample(self, found: Mapping[str, npt.NDArray[Any]], step: int, count: int) -> Outputs:
        """Return the outputs of one run under the model's own names, with samples along their first axis.

        Args:
            found: The outputs of a session.
            step: The number of samples in the run.
            count: How many of them to keep.

        Returns:
            The outputs, without those that are no tensors.

        Raises:
            BadModel: An output has no row per sample.
        """
        return by_sample(found, self._axes, step, count)

    def with_rows(self, found: Mapping[str, npt.NDArray[Any]], count: int) -> Outputs:
        """Return those outputs of one run of ``count`` samples that have a row for each, as :meth:`by_sample` does."""
        kept = {}
        for name, values in _named(found, self._axes).items():
            axis = self._axes.get(name, 0)
            if axis is not None and axis < values.ndim and values.shape[axis] == count:
                kept[name] = np.moveaxis(values, axis, 0)
        return kept

    def parts(self, first: Batch, step: int, outputs: Outputs) -> dict[str, Parts]:
        """Return the parts of outputs: what a Concat joined, or channels whose magnitudes are of different kinds.

        Args:
            first: The first batch.
            step: The number of samples in one run.
            outputs: The reference's outputs for it.

        Returns:
            The parts by output, without outputs that have none.
        """
        return parts_of(self.model, first, step, outputs, self._axes)


def parts_of(
    model: ModelFile | None,
    first: Batch,
    step: int,
    outputs: Outputs,
    axes: Mapping[str, int | None] | None = None,
) -> dict[str, Parts]:
    """Return the parts of outputs; see :meth:`Reference.parts`.

    Args:
        model: The user's model; without it, channels alone are looked at.
        first: The first batch.
        step: The number of samples in one run.
        outputs: The reference's outputs for it, with samples along the first axis.
        axes: The batch axis of each output; None takes the model's.
    """
    found: dict[str, Parts] = {}
    origins: dict[str, Joined] = {}
    if model is not None:
        axes = axes or {output.name: output.batch_axis for output in model.outputs}
        graph = Graph(model.graph_only.graph)
        origins = {name: origin for name in outputs if (origin := joined(graph, name)) is not None}
    shapes = _shapes(model, origins, first, step)
    for name, values in outputs.items():
        own = None
        if name in origins and shapes:
            own = _joined_parts(name, origins[name], shapes, step, (axes or {}).get(name))
        if own is None and values.dtype.kind == "f":
            own = kinds(values)
        if own is not None:
            found[name] = own
    return found


def _shapes(
    model: ModelFile | None, origins: Mapping[str, Joined], first: Batch, step: int
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors of the origins for the first batch; none if they cannot be computed."""
    tensors = {name: name for own in origins.values() for name in own.tensors()}
    if not tensors or model is None:
        return {}
    graph = model.graph_only.graph
    constant = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    computed = {name: name for name in tensors if name not in constant}
    try:
        runner = OnnxOutputs(model.path, model.graph_only, bool(model.external_files), computed)
        return constant | {name: values.shape for name, values in runner.infer(first.resized(step)).items()}
    except QuantkitError:
        return {}


def _joined_parts(
    name: str, origin: Joined, shapes: Mapping[str, tuple[int, ...]], step: int, axis: int | None
) -> Parts | None:
    try:
        names, places = labels(origin, shapes)
        return Parts(names, _by_sample(name, places, step, axis)[0])
    except (KeyError, ValueError, BadModel):
        return None


def kinds(values: npt.NDArray[Any]) -> Parts | None:
    """Return the ranges of channels that hold values of different kinds, such as pixels beside scores.

    Args:
        values: The reference's output, with samples along the first axis.

    Returns:
        The parts, along the axis whose channels differ most; None if all are of one kind, or if kinds alternate.
    """
    if values.ndim < 3 or not values.size:
        return None
    best: tuple[float, int, npt.NDArray[np.float64]] | None = None
    with np.errstate(all="ignore"):
        squares = values.astype(np.float64) ** 2
    for axis in range(1, values.ndim):
        if not 2 <= values.shape[axis] <= MOST_CHANNELS:
            continue
        sizes = np.sqrt(squares.mean(axis=tuple(other for other in range(values.ndim) if other != axis)))
        if not np.isfinite(sizes).all() or not sizes.all():
            continue
        ratio = float(sizes.max() / sizes.min())
        if ratio >= KINDS_APART and (best is None or ratio > best[0]):
            best = ratio, axis, sizes
    if best is None:
        return None
    _, axis, sizes = best
    large = sizes > np.sqrt(sizes.max() * sizes.min())
    starts = [0, *(np.flatnonzero(large[1:] != large[:-1]) + 1).tolist()]
    if not 2 <= len(starts) <= MOST_KINDS:
        return None
    ends = [*starts[1:], len(sizes)]
    names = [f"{start}–{end - 1} of axis {axis}" if end - start > 1 else f"{start} of axis {axis}"
             for start, end in zip(starts, ends, strict=True)]  # fmt: skip
    numbers = np.repeat(np.arange(len(starts), dtype=np.int16), np.subtract(ends, starts))
    shape = [1] * (values.ndim - 1)
    shape[axis - 1] = len(sizes)
    return Parts(names, np.broadcast_to(numbers.reshape(shape), values.shape[1:]))


def by_sample(
    found: Mapping[str, npt.NDArray[Any]], axes: Mapping[str, int | None], step: int, count: int
) -> dict[str, npt.NDArray[Any]]:
    """Return the outputs of one run under the model's own names; see :meth:`Reference.by_sample`.

    Tensors inside the model, which stand for outputs that are not computed, are left out without a row per sample.

    Args:
        found: The outputs of a session.
        axes: The batch axis of each of the model's outputs.
        step: The number of samples in the run.
        count: How many of them to keep.
    """
    tensors = _named(found, axes)
    inner = {name for name, values in tensors.items() if name not in axes and values.shape[:1] != (step,)}
    if step > 1 and len(inner) < len(tensors):
        tensors = {name: values for name, values in tensors.items() if name not in inner}
    return {name: _by_sample(name, tensors[name], step, axes.get(name, 0))[:count] for name in tensors}


def _named(found: Mapping[str, npt.NDArray[Any]], axes: Mapping[str, int | None]) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors among the outputs of a session under the model's own names."""
    tensors = {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
    if not any(name in tensors for name in axes) and len(tensors) == len(axes):
        return dict(zip(axes, tensors.values(), strict=True))  # a runtime with names of its own keeps the order
    return tensors


def _by_sample(name: str, output: npt.NDArray[Any], step: int, axis: int | None) -> npt.NDArray[Any]:
    """Return an output with samples along its first dimension. Raises BadModel if it has no row per sample."""
    if axis is not None and axis < output.ndim and output.shape[axis] == step:
        return np.moveaxis(output, axis, 0)
    if step == 1:
        return output[None]
    raise BadModel(
        f"The model's output {name!r} has shape {output.shape}, not one row for each of {step} samples.",
        "Export the model with a dynamic batch, or a batch of 1.",
    )
