"""Samples from Python objects: a list of arrays, a generator, a DataLoader, a Hugging Face Dataset.

They are recognised by their contents, so neither torch nor datasets is imported. The samples are written to a temporary
file, because a generator can be read only once and memory must not grow with the number of samples.
"""

from __future__ import annotations

import hashlib
import mmap
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from quantkit.core.errors import BadData
from quantkit.core.files import NO_SPACE
from quantkit.core.preprocess import Preprocess
from quantkit.datasets.arrays import LABEL_KEYS, arrays_source, holds_images
from quantkit.datasets.base import Dataset, Inputs, Request, Source
from quantkit.datasets.fit import fit
from quantkit.datasets.layout import as_sample, batch_in, told
from quantkit.datasets.transform import transform
from quantkit.graph.model_io import ModelInput

Array = npt.NDArray[Any]
FORMS = "Yield arrays, dicts by input name, or (inputs, label) pairs, one sample or one batch at a time."


@dataclass(frozen=True)
class Stored:
    """The location of an array in the temporary file."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, kw_only=True)
class IterableDataset(Dataset):
    """Samples read from an iterable; ``stored`` holds the location of each sample's inputs in ``spool``."""

    source: str
    spool: mmap.mmap
    stored: Sequence[Mapping[str, Stored]]
    digests: Sequence[bytes]
    annotations: Sequence[Any] | None
    classes: Sequence[str]
    dtypes: Mapping[str, str]
    preprocess: Preprocess
    image_inputs: frozenset[str]
    names: Sequence[str] = field(default=())

    def stamp(self, index: int) -> str:
        """Return the digest of the sample, which is all that identifies it."""
        return self.digests[index].hex()

    def size(self, index: int) -> int:
        """Return the bytes of all inputs."""
        return sum(array.nbytes for array in self._arrays(index).values())

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of all inputs' dtypes, shapes and bytes."""
        return self.digests[index]

    def is_constant(self, index: int) -> bool:
        """True if all values of each input are the same."""
        return all(array.size > 1 and array.min() == array.max() for array in self._arrays(index).values())

    def load(self, index: int) -> tuple[Inputs, bytes]:
        """Return the sample in the model's dtypes, with images preprocessed, and the SHA-256 of its stored bytes."""
        sample = {}
        for name, array in self._arrays(index).items():
            if name in self.image_inputs:
                array = transform(Image.fromarray(array).convert("RGB"), self.preprocess)
            sample[name] = array.astype(self.dtypes[name], copy=False)
        return sample, self.digests[index]

    def _arrays(self, index: int) -> dict[str, Array]:
        return {
            name: np.frombuffer(self.spool, at.dtype, int(np.prod(at.shape)), at.offset).reshape(at.shape)
            for name, at in self.stored[index].items()
        }


def open_iterable(data: Any, request: Request, samples: int | None) -> Source:
    """Read samples from any Python object that yields them.

    A NumPy array, or a dict of arrays by input name, is a complete set and is read like an .npy or .npz. Anything else
    is iterated from its start. It may yield arrays or tensors, dicts by input name with the label under "labels",
    "label" or "y", or (inputs, label) pairs. An item with as many dimensions as the model's input is a batch, in the
    model's own layout; with one dimension less it is a sample. For an input without a batch axis, an item of the
    input's own shape is a sample. uint8 (H, W, 3) or (H, W) arrays and PIL images are preprocessed; anything else is
    fed unchanged.

    Args:
        data: The object.
        request: The model inputs and the preprocessing.
        samples: How many samples are read at most; None means all.

    Returns:
        The opened data set.

    Raises:
        BadData: The object yields no samples, or samples that do not fit the model's inputs.
    """
    called = f"the {type(data).__name__}"
    if isinstance(data, np.ndarray):
        return arrays_source({"": _array(data, called)}, request, called)
    if request.labels is not None:
        raise BadData(f"A labels file names image files; {called} has none.", "Yield (inputs, label) pairs.")
    if isinstance(data, Mapping):
        return arrays_source({str(name): _array(value, called) for name, value in data.items()}, request, called)
    if not isinstance(data, Iterable):
        if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
            raise BadData(f"{called} cannot be iterated.", f"Give a path, or an iterable. {FORMS}")
        data = map(data.__getitem__, range(len(data)))  # a map-style data set, as torch defines it
    with tempfile.TemporaryFile(prefix="quantkit-") as file:
        try:
            reader = _Reader(file, request.inputs, called)
            for item in islice(reader.samples(data), samples):
                reader.store(*item)
            file.write(bytes(1))  # an empty file cannot be mapped, and samples may hold no element
            file.flush()
        except OSError as error:
            if error.errno not in NO_SPACE:
                raise
            raise BadData(
                f"There is no room to keep the samples of {called}.", "Free some space where TMPDIR points."
            ) from error
        if not reader.stored:
            raise BadData(f"{called} yields no samples.", FORMS)
        spool = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return reader.source(spool, request)


class _Reader:
    """Splits items into samples and writes them to ``file``."""

    def __init__(self, file: BinaryIO, inputs: Sequence[ModelInput], called: str) -> None:
        self.file = file
        self.inputs = {spec.name: spec for spec in inputs}
        self.called = called
        self.stored: list[dict[str, Stored]] = []
        self.digests: list[bytes] = []
        self.labels: list[Any] = []
        self.images: dict[str, bool] = {}  # by input: True if its samples are pixels to preprocess

    def samples(self, data: Iterable[Any]) -> Iterator[tuple[dict[str, Array], Any]]:
        """Yield each sample's inputs by name and its label, None if it has none."""
        for item in data:
            values, label = self._parted(item)
            arrays = {name: _array(values[name], self.called) for name in self.inputs}
            batches = {name: self._batch(array, self.inputs[name]) for name, array in arrays.items()}
            if all(batch is None for batch in batches.values()):
                yield {name: as_sample(array, self.inputs[name]) for name, array in arrays.items()}, _plain(label)
                continue
            counts = {len(batch) for batch in batches.values() if batch is not None}
            labels = None if label is None else _rows(label)
            if labels is not None:
                counts.add(len(labels))
            alone = [name for name, batch in batches.items() if batch is None]
            if len(counts) != 1 or any(self.inputs[name].batch_axis is not None for name in alone):
                shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
                raise BadData(f"{self.called} yields a batch of unequal lengths: {shapes}.", FORMS)
            for row in range(counts.pop()):
                one = None if labels is None else _plain(labels[row])
                yield (
                    {
                        name: as_sample(arrays[name], self.inputs[name]) if batch is None else batch[row]
                        for name, batch in batches.items()
                    },
                    one,
                )

    def store(self, arrays: Mapping[str, Array], label: Any) -> None:
        """Write one sample."""
        digest, places = hashlib.sha256(), {}
        for name, array in arrays.items():
            spec = self.inputs[name]
            pixels = holds_images(array[None], spec)
            if self.images.setdefault(name, pixels) != pixels:
                raise BadData(f"{self.called} yields both pixels and ready inputs for {name!r}.", "Give one of them.")
            if not pixels and not spec.takes(array.shape):
                raise BadData(
                    f"{self.called} yields {name!r} samples of shape {array.shape}, but the model takes "
                    f"{spec.sample_shape}.",
                    "Yield arrays in the model's own shape and layout, or uint8 images (H, W, 3) or (H, W).",
                )
            places[name] = Stored(self.file.tell(), array.shape, array.dtype)
            data = np.ascontiguousarray(array).tobytes()
            digest.update(f"{name}{array.dtype}{array.shape}".encode() + data)
            self.file.write(data + bytes(-len(data) % 16))  # every dtype's alignment
        self.stored.append(places)
        self.digests.append(digest.digest())
        self.labels.append(label)

    def source(self, spool: mmap.mmap, request: Request) -> Source:
        """Return the samples that were written, in order, as an opened data set."""
        notes: list[str] = []
        preprocess = request.preprocess
        for name, pixels in self.images.items():
            if pixels:
                preprocess = fit(request.preprocess, self.inputs[name], notes)
            else:
                notes.append(
                    f"{name} is fed as {self.called} yields it, without preprocessing{told(self.inputs[name])}."
                )
        dataset = IterableDataset(
            source=self.called,
            spool=spool,
            stored=self.stored,
            digests=self.digests,
            annotations=None if all(label is None for label in self.labels) else self.labels,
            classes=tuple(request.classes or ()),
            dtypes={name: spec.dtype for name, spec in self.inputs.items()},
            preprocess=preprocess,
            image_inputs=frozenset(name for name, pixels in self.images.items() if pixels),
            names=[f"sample {number}" for number in range(len(self.stored))],
        )
        return Source(dataset, ordered=True, notes=tuple(notes))

    def _parted(self, item: Any) -> tuple[Mapping[str, Any], Any]:
        """Split an item into inputs by name and its label."""
        label = None
        if isinstance(item, (tuple, list)) and len(item) in (1, 2) and not np.isscalar(item[0]):
            item, label = item if len(item) == 2 else (item[0], None)
        if not isinstance(item, Mapping):
            if len(self.inputs) > 1:
                raise BadData(
                    f"{self.called} yields one array, but the model has the inputs {', '.join(self.inputs)}.",
                    "Yield dicts by input name.",
                )
            return dict.fromkeys(self.inputs, item), label
        values = dict(item)
        for key in LABEL_KEYS:
            if key in values and key not in self.inputs:
                label = values.pop(key)
                break
        if len(values) == 1 and len(self.inputs) == 1 and self._are_images(*values.values(), *self.inputs.values()):
            return dict.fromkeys(self.inputs, *values.values()), label
        missing = [name for name in self.inputs if name not in values]
        if missing:
            found = ", ".join(map(str, values))
            raise BadData(
                f"{self.called} yields no value for the model input {missing[0]!r}, only {found}.",
                f"Yield dicts with the keys {', '.join(self.inputs)}.",
            )
        return values, label

    def _are_images(self, value: Any, spec: ModelInput) -> bool:
        """True for an image or a batch of them: a column of a data set, which may have any name."""
        array = _array(value, self.called)
        return holds_images(array, spec) or holds_images(array[None], spec)

    def _batch(self, array: Array, spec: ModelInput) -> Array | None:
        """Return the samples of a batch, along its first dimension; None for a single sample."""
        # Three dimensions of pixels are one image here: gray batches look like images of another layout or depth.
        return None if holds_images(array[None], spec) else batch_in(array, spec)


def _array(value: Any, called: str) -> Array:
    """Convert an array, a tensor, a PIL image or a list to an array of numbers. Raises BadData."""
    if isinstance(value, Image.Image):
        value = value.convert("RGB")
    for method in ("detach", "cpu"):  # for a tensor with a gradient, or on a GPU
        value = getattr(value, method, lambda same=value: same)()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise BadData(f"{called} yields {type(value).__name__}, which is no array ({error}).", FORMS) from error
    if array.dtype.kind not in "fiub":
        raise BadData(f"{called} yields values of type {array.dtype}, which are no real numbers.", FORMS)
    return array


def _rows(labels: Any) -> Sequence[Any]:
    """Return the labels of a batch as a sequence."""
    with suppress(TypeError):
        return [labels[row] for row in range(len(labels))]
    return [labels]  # the label of a batch of one


def _plain(label: Any) -> Any:
    """Convert a scalar to a Python number; leave any other annotation unchanged."""
    item = getattr(label, "item", None)
    return item() if item is not None and np.ndim(label) == 0 else label
