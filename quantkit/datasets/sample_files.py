"""A folder of .npz files, one sample in each, every sample of its own shape."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadData
from quantkit.core.npz import HEADERS
from quantkit.core.preprocess import Preparation
from quantkit.core.reading import LARGEST_IMAGE
from quantkit.core.wording import some
from quantkit.datasets.arrays import LABEL_KEYS
from quantkit.datasets.base import Inputs, Request, Source, Unreadable
from quantkit.datasets.decode import SUFFIXES
from quantkit.datasets.files import FileDataset, content_of
from quantkit.graph.model_io import ModelInput

Array = npt.NDArray[Any]
MEMBER = ".npy"
MOST_TARGETS = 1 << 28  # bytes of all samples' targets, which are kept in memory


@dataclass(frozen=True, kw_only=True)
class SampleFiles(FileDataset):
    """Files with an array for each input of the model, and perhaps the sample's target."""

    source: str
    names: Sequence[str]
    paths: Sequence[Path]
    inputs: Sequence[ModelInput]
    preprocess: Preparation
    classes: Sequence[str] = ()
    annotations: Sequence[Any] | None = None

    def load(self, index: int) -> tuple[Inputs, bytes]:
        """Return the sample in the model's dtypes, without the batch axis. Raises Unreadable."""
        data = content_of(self.paths[index], self.what)
        members = _members(data, {own.name for own in self.inputs})
        try:
            sample = sample_of(members, self.inputs, self.names[index])
        except BadData as error:
            raise Unreadable(error.what) from error
        return sample, hashlib.sha256(data).digest()


class SampleFolder:
    """A folder that holds .npz files, and no images beside them."""

    def matches(self, path: Path) -> bool:
        """True for such a folder."""
        if not path.is_dir():
            return False
        suffixes = {entry.suffix.lower() for entry in path.iterdir()}
        return ".npz" in suffixes and not suffixes & SUFFIXES

    def open(self, request: Request) -> Source:
        """Open the files in order of their names.

        Raises BadData if the first that can be read does not fit the model, or the targets are too large.
        """
        if request.labels is not None:
            raise BadData(
                f"A labels file names image files; {request.path} has none.",
                f"Put an array called {LABEL_KEYS[0]!r} into each .npz.",
            )
        paths = sorted(path for path in request.path.iterdir() if path.suffix.lower() == ".npz" and path.is_file())
        _check_first(paths, request.inputs)
        targets = _targets(paths, request)
        dataset = SampleFiles(
            source=str(request.path),
            names=[path.name.encode("utf-8", "backslashreplace").decode() for path in paths],
            paths=paths,
            inputs=request.inputs,
            preprocess=Preparation(name="sample files", description="arrays as they stand, one sample a file"),
            classes=tuple(request.classes or ()),
            annotations=None if all(target is None for target in targets) else targets,
        )
        return Source(dataset, notes=(f"Each .npz of {request.path} is a sample, fed as it stands.",))


def sample_of(members: Mapping[str, Array], inputs: Sequence[ModelInput], source: str) -> dict[str, Array]:
    """Return the arrays of one sample by input, without the batch axis and in the model's dtypes.

    Args:
        members: The arrays of a file.
        inputs: The model's inputs. An array may have their whole shape with a batch of 1, or lack the batch axis.
        source: What error messages call the file.

    Returns:
        The sample.

    Raises:
        BadData: An input has no array, or one of another shape or of no numbers.
    """
    sample = {}
    for own in inputs:
        array = members.get(own.name)
        if array is None:
            raise BadData(
                f"{source} has no array for the model input {own.name!r}; it holds {some(list(members)) or 'nothing'}.",
                f"Save each sample with the keys {', '.join(own.name for own in inputs)}.",
            )
        if array.dtype.kind not in "fiub":
            raise BadData(f"{source} gives {own.name!r} values of type {array.dtype}.", "Save numbers.")
        sample[own.name] = _one(array, own, source).astype(own.dtype, copy=False)
    return sample


def _one(array: Array, own: ModelInput, source: str) -> Array:
    axis, free = own.batch_axis, own.sample_shape
    if own.takes(array.shape):
        return array
    if axis is not None and array.ndim == len(own.shape) and array.shape[axis] == 1:
        without = np.squeeze(array, axis)
        if own.takes(without.shape):
            return without
    if array.size == 1 and all(isinstance(size, str) or size == 1 for size in free):
        return array.reshape((1,) * len(free))
    raise BadData(
        f"{source} gives {own.name!r} the shape {array.shape}, but the model takes {free}.",
        "Save one sample a file, in the model's own shape and layout, with a batch axis of 1 or without it.",
    )


def _check_first(paths: Sequence[Path], inputs: Sequence[ModelInput]) -> None:
    """Raise BadData if the first file that can be read does not hold a sample for the model."""
    for path in paths:
        try:
            members = _members(content_of(path, SampleFiles.what), None)
        except Unreadable:
            continue
        sample_of(members, inputs, str(path))
        return


def _targets(paths: Sequence[Path], request: Request) -> list[Any]:
    """Return the target of each file: what a label key holds, else arrays that are named like outputs by name."""
    inputs = {own.name for own in request.inputs}
    keys = [key for key in LABEL_KEYS if key not in inputs]
    outputs = [name for name in request.outputs if name not in inputs]
    found: list[Any] = []
    size = 0
    for path in paths:
        try:
            members = _members(content_of(path, SampleFiles.what), {*keys, *outputs})
        except Unreadable:
            found.append(None)
            continue
        size += sum(array.nbytes for array in members.values())
        if size > MOST_TARGETS:
            raise BadData(
                f"The targets in {request.path} take more than {MOST_TARGETS >> 20} MiB.",
                "Give fewer samples, or leave out arrays that no metric needs.",
            )
        label = next((members[key] for key in keys if key in members), None)
        given = {name: members[name] for name in outputs if name in members}
        found.append(given or None if label is None else _plain(label))
    return found


def _plain(label: Array) -> Any:
    """Return the only value of an array as a Python value; an array of several as it is."""
    return label.reshape(-1)[0].item() if label.size == 1 and label.ndim < 2 else label


def _members(data: bytes, wanted: set[str] | None) -> dict[str, Array]:
    """Return the wanted arrays of a file that are there; None reads all. Raises Unreadable for a damaged file."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = {info.filename.removesuffix(MEMBER): info for info in archive.infolist()}
            chosen = infos if wanted is None else {name: infos[name] for name in infos if name in wanted}
            if sum(info.file_size for info in chosen.values()) > LARGEST_IMAGE:
                raise Unreadable(f"it holds more than {LARGEST_IMAGE >> 30} GiB")
            contents = {name: io.BytesIO(archive.read(info)) for name, info in chosen.items()}
        with HEADERS:
            return {name: np.lib.format.read_array(own, allow_pickle=False) for name, own in contents.items()}
    except Unreadable:
        raise
    # NumPy lets through what Python's parser stumbles over; RuntimeError is an encrypted archive.
    except (OSError, EOFError, ValueError, RuntimeError, SyntaxError, TypeError, MemoryError, OverflowError) as error:
        raise Unreadable(f"no readable .npz ({error})") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise Unreadable(f"no readable .npz ({error})") from error
