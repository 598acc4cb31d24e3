"""Features of samples, as the model itself sees them, for a choice of samples that are far from one another."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.core.caches import cache_folder
from quantkit.core.errors import BadData
from quantkit.core.files import atomic_file, digest_of
from quantkit.core.progress import Progress
from quantkit.datasets import OpenedData, Stream
from quantkit.datasets.select import diverse_choice
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile
from quantkit.graph.operators import WEIGHTED
from quantkit.runtime.activations import ActivationSession, Runner

log = logging.getLogger("quantkit")
KEPT = 16  # files of features


@dataclass(frozen=True)
class FeatureTensor:
    """A tensor whose channels describe a sample: they lie along the first axis of a sample, or along the last."""

    name: str
    channels_first: bool

    def row(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the mean of each channel of one sample's values, without the batch axis."""
        axes = range(1, values.ndim) if self.channels_first else range(values.ndim - 1)
        found: npt.NDArray[np.float32] = np.nan_to_num(values.mean(axis=tuple(axes))).reshape(-1)
        return found


def diverse_samples(opened: OpenedData, model: ModelFile, wanted: int, progress: Progress) -> OpenedData:
    """Keep ``wanted`` samples that are far from one another in the model's features.

    Args:
        opened: The samples to choose from.
        model: The model.
        wanted: The number of samples to keep.
        progress: Displays the progress.

    Returns:
        The chosen samples, in the order in which they were chosen.

    Raises:
        BadData: No sample can be read, or too many cannot.
    """
    tensor = feature_tensor(model)
    stream = Stream(opened.dataset, [int(i) for i in opened.indices], model.batch_axes)
    positions, features = _cached(stream, model, tensor, progress)
    chosen = diverse_choice(features, wanted)
    note = f"{len(chosen)} of {len(positions)} samples were chosen, far from one another in {tensor.name}."
    return replace(opened, indices=opened.indices[positions[chosen]], notes=(*opened.notes, note))


def feature_tensor(model: ModelFile) -> FeatureTensor:
    """Return the output of the weighted layer with the most channels, the last of several: the richest description.

    Raises BadData if no layer's output has a known number of channels.
    """
    inferred = onnx.shape_inference.infer_shapes(model.graph_only).graph
    shapes = {value.name: value.type.tensor_type.shape.dim for value in (*inferred.value_info, *inferred.output)}
    best, most = None, 1
    for node in Graph(model.graph_only.graph).of_type(*WEIGHTED):
        dims, first = shapes.get(node.output[0], ()), node.op_type.startswith("Conv")
        channels = dims[1 if first else -1].dim_value if len(dims) > 1 else 0
        if channels >= most:
            best, most = FeatureTensor(node.output[0], first), channels
    if best is None:
        raise BadData(
            "The model has no layer whose output could tell samples apart.",
            "Choose them at random (--select, select=).",
        )
    return best


def _cached(
    stream: Stream, model: ModelFile, tensor: FeatureTensor, progress: Progress
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the positions of readable samples and their features, (N, D), from an earlier pass if there was one."""
    data = stream.dataset
    stamps = [(data.names[i], data.stamp(i)) for i in stream.indices]
    key = digest_of([model.sha256(), tensor.name, data.preprocess.model_dump(mode="json"), stamps])
    folder = cache_folder("features")
    file = None if folder is None else folder / f"{key}.npy"
    if file is not None and file.is_file():
        with suppress(OSError, ValueError, EOFError, IndexError):  # a damaged file is made anew
            known = np.load(file, allow_pickle=False)
            positions = known[:, 0].astype(np.int64)
            if known.dtype == np.float32 and np.isfinite(known).all() and set(positions) <= set(range(len(stamps))):
                return positions, known[:, 1:]
    positions, features = _computed(stream, model, tensor, progress)
    if file is not None:
        with suppress(OSError, BadData):
            _keep(file, np.column_stack([positions.astype(np.float32), features]))
    return positions, features


def _computed(
    stream: Stream, model: ModelFile, tensor: FeatureTensor, progress: Progress
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    runner = Runner(ActivationSession(model, lambda own: own == tensor.name, apart=lambda own: True))
    size = model.fixed_batch or 1
    positions, rows = [], []
    order = {index: position for position, index in enumerate(stream.indices)}
    with progress("looking at samples", len(stream.indices), "samples") as advance:
        for batch in stream.batches(size):
            values = runner.run(batch.resized(size))[tensor.name]
            if len(values) != size:  # not one row a sample: all of them are described together
                values = np.repeat(values[None], size, axis=0)
            rows += [tensor.row(own) for own in values[: len(batch.indices)]]
            positions += [order[index] for index in batch.indices]
            advance(len(batch.indices))
    if not rows:
        raise BadData(f"No sample of {stream.dataset.source} can be read.", "Check the files.")
    return np.array(positions, np.int64), np.stack(rows).astype(np.float32)


def _keep(file: Path, rows: npt.NDArray[np.float32]) -> None:
    with atomic_file(file) as temporary:
        np.save(temporary, rows)
    for old in sorted(file.parent.glob("*.npy"), key=lambda own: own.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)
