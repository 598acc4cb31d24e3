"""Samples from .npy and .npz files, read through memory maps."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from quantkit.core.errors import BadData
from quantkit.core.files import NO_SPACE
from quantkit.core.preprocess import Preprocess
from quantkit.datasets.base import Dataset, Inputs, Request, Source, Unreadable
from quantkit.datasets.fit import fit
from quantkit.datasets.layout import Samples, samples_in, told
from quantkit.datasets.npy import map_npy, row_of
from quantkit.datasets.transform import transform
from quantkit.graph.model_io import ModelInput

SUFFIXES = (".npy", ".npz")
MOST_CLASSES = 1 << 24
LABEL_KEYS = ("labels", "label", "y")


@dataclass(frozen=True, kw_only=True)
class ArrayDataset(Dataset):
    """Arrays whose first dimension counts samples, one for each model input; a value for all samples is repeated.

    An array named in ``image_inputs`` holds uint8 pixels (N, H, W, 3) or (N, H, W) and is preprocessed like an image
    file. The other arrays are fed to the model unchanged.
    """

    source: str
    file: Path | None
    arrays: Mapping[str, npt.NDArray[Any]]
    annotations: Sequence[Any] | None
    classes: Sequence[str]
    dtypes: Mapping[str, str]
    image_inputs: frozenset[str]
    preprocess: Preprocess
    names: Sequence[str] = field(default=())

    def stamp(self, index: int) -> str:
        """Return the file's size, modification time and status-change time; for data in memory, the digest."""
        if self.file is None:
            return self.digest(index).hex()
        status = self.file.stat()
        return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"

    def size(self, index: int) -> int:
        """Return the bytes of one row of all arrays."""
        return sum(array.nbytes // max(len(array), 1) for array in self.arrays.values())

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of one row of all arrays; in memory, where no file tells them, with dtypes and shapes."""
        return self._digest_of(self._rows(index))

    def is_constant(self, index: int) -> bool:
        """True if all values in each array's row are the same."""
        try:
            rows = self._rows(index).values()
        except Unreadable:
            return False
        return all(row.size > 1 and row.min() == row.max() for row in rows)

    def load(self, index: int) -> tuple[Inputs, bytes]:
        """Return one sample of every array, in the model's dtypes, and the SHA-256 of its stored bytes."""
        sample = {}
        rows = self._rows(index)
        for name, row in rows.items():
            value = np.asarray(row, order="C")
            if name in self.image_inputs:
                value = transform(Image.fromarray(value).convert("RGB"), self.preprocess)
            sample[name] = value.astype(self.dtypes[name], copy=False)
        return sample, self._digest_of(rows)

    def _rows(self, index: int) -> dict[str, npt.NDArray[Any]]:
        return {name: row_of(array, index) for name, array in self.arrays.items()}

    def _digest_of(self, rows: Mapping[str, npt.NDArray[Any]]) -> bytes:
        digest = hashlib.sha256()
        for name, row in rows.items():
            if self.file is None:
                digest.update(f"{name}{row.dtype}{row.shape}".encode())
            digest.update(row.tobytes())
        return digest.digest()


def open_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Memory-map the arrays of a file by name; the array of an .npy has the name "".

    The members of an .npz are unpacked to a temporary folder first, so that they can be mapped. Raises BadData.
    """
    try:
        return {"": map_npy(path)} if path.suffix == ".npy" else _unpack(path)
    # RuntimeError: an encrypted archive, or (as its subclass) one of an unknown compression.
    except (OSError, ValueError, EOFError, RuntimeError, SyntaxError, zlib.error, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            raise BadData(f"There is no room to unpack {path}.", "Free some space where TMPDIR points.") from error
        raise BadData(f"{path} is not a readable {path.suffix} file.", "Write it with numpy.save or savez.") from error


def by_input(
    members: Mapping[str, npt.NDArray[Any]], input_names: Sequence[str], source: str, in_memory: bool = False
) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[Any] | None]:
    """Assign arrays to model inputs by name.

    The single array of a file is used for a single input, whatever its name: NumPy calls it arr_0.

    Args:
        members: The arrays by name.
        input_names: The names of the model's inputs.
        source: What error messages call the data.
        in_memory: True for a dict of arrays; one without a name has the name "".

    Returns:
        The arrays by input name, and the labels if there are any.

    Raises:
        BadData: An input has no array.
    """
    members = dict(members)
    labels = next((members.pop(key) for key in LABEL_KEYS if key in members and key not in input_names), None)
    if len(members) == 1 and len(input_names) == 1 and (not in_memory or "" in members):
        members = {input_names[0]: next(iter(members.values()))}
    missing = [name for name in input_names if name not in members]
    if missing:
        raise BadData(
            f"{source} has no array for the model input {missing[0]!r}; it holds {', '.join(members) or 'nothing'}.",
            f"{'Give a dict' if in_memory else 'Save an .npz'} with the keys {', '.join(input_names)}.",
        )
    return {name: members[name] for name in input_names}, labels


class ArrayFile:
    """An .npy or .npz file."""

    def matches(self, path: Path) -> bool:
        """True for a file of either suffix."""
        return path.suffix in SUFFIXES and path.is_file()

    def open(self, request: Request) -> Source:
        """Open the rows of the file. Raises BadData for a damaged file, or one that does not fit the model's inputs."""
        return arrays_source(open_arrays(request.path), request, str(request.path), request.path)


def arrays_source(
    members: Mapping[str, npt.NDArray[Any]], request: Request, source: str, file: Path | None = None
) -> Source:
    """Open arrays as a data set.

    Args:
        members: The arrays by name.
        request: The model inputs and the preprocessing.
        source: What error messages call the data.
        file: The file that the arrays come from; None for arrays in memory.

    Returns:
        The opened data set.

    Raises:
        BadData: The arrays do not fit the model's inputs.
    """
    if request.labels is not None:
        raise BadData(f"A labels file names image files; {source} has none.", "Put the labels beside the arrays.")
    given, labels = by_input(members, [i.name for i in request.inputs], source, in_memory=file is None)
    called = file.name if file else source
    notes: list[str] = []
    images = {i.name for i in request.inputs if holds_images(given[i.name], i)}
    preprocess = request.preprocess
    found: dict[str, Samples] = {}
    for spec in request.inputs:
        shape = given[spec.name].shape
        if spec.name in images and len(shape) == 3 and shape[2] in (1, 3, 4):
            raise BadData(
                f"{source} gives {spec.name!r} pixels of shape {shape}, which is that of one image.",
                "Put a first dimension before it, which counts samples.",
            )
        if spec.name in images:
            preprocess = fit(request.preprocess, spec, notes)
            found[spec.name] = Samples(given[spec.name], shared=False)
        else:
            found[spec.name] = samples_in(given[spec.name], spec, source)
            notes.append(f"{spec.name} is fed as it stands in {called}, without preprocessing{told(spec)}.")
    count = _count_of(found, labels, source)
    arrays = {name: samples.repeated(count) for name, samples in found.items()}
    dataset = ArrayDataset(
        source=source,
        file=file,
        arrays=arrays,
        annotations=None if labels is None else annotations_of(labels, request, source),
        classes=tuple(request.classes or ()),
        dtypes={i.name: i.dtype for i in request.inputs},
        image_inputs=frozenset(images),
        preprocess=preprocess,
        names=[f"{file.name}[{i}]" if file else f"sample {i}" for i in range(count)],
    )
    return Source(dataset, shuffled=False, notes=tuple(notes))


def _count_of(found: Mapping[str, Samples], labels: npt.NDArray[Any] | None, source: str) -> int:
    """Return the number of samples. Raises BadData if arrays or labels differ in length, or are empty."""
    counts = {name: len(samples.rows) for name, samples in found.items() if not samples.shared}
    counts = counts or {name: len(samples.rows) for name, samples in found.items()}
    if labels is not None:
        per_row = labels.ndim > 1 and labels.size not in counts.values()  # boxes, say, of each sample
        counts["labels"] = len(labels) if per_row else labels.size
    if len(set(counts.values())) != 1 or 0 in counts.values():
        raise BadData(f"The arrays of {source} differ in length or are empty: {counts}.", "Give one row per sample.")
    return next(iter(counts.values()))


def holds_images(array: npt.NDArray[Any], spec: ModelInput) -> bool:
    """True if rows are uint8 pixels, (H, W) or (H, W, 3), and the input takes images of another dtype."""
    pixels = array.dtype == np.uint8 and (array.ndim == 3 or array.shape[3:] == (3,))
    return pixels and spec.dtype != "uint8" and len(spec.sample_shape) == 3


def annotations_of(labels: npt.NDArray[Any], request: Request, source: str) -> list[Any]:
    """Return the annotation of each row: integers are class indices, the task judges anything else.

    Args:
        labels: The labels, one for each sample.
        request: Names the classes, if they are known.
        source: What error messages call the data.

    Returns:
        A class index, or whatever the row holds.

    Raises:
        BadData: A class index is not among the classes.
    """
    if labels.ndim > 1 and labels.size != len(labels):
        return list(labels)
    if labels.dtype.kind not in "iu":
        flat: list[Any] = labels.reshape(-1).tolist()
        return flat
    found: list[int] = labels.reshape(-1).tolist()
    count = len(request.classes) if request.classes else None
    worst = max(found) if max(found) >= (count or MOST_CLASSES) else min(found)
    if worst < 0 or worst >= (count or MOST_CLASSES):
        raise BadData(
            f"{source} has the label {worst}, outside the model's classes"
            + (f" 0 to {count - 1}." if count is not None else "."),
            "Check the labels, or that this is the right model.",
        )
    return found


def _unpack(path: Path) -> dict[str, npt.NDArray[Any]]:
    arrays = {}
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory(prefix="quantkit-") as folder:
        for number, member in enumerate(archive.infolist()):
            # Numbered names, because a member's own name is untrusted and could point outside the folder.
            target = Path(folder) / f"{number}.npy"
            with archive.open(member) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            arrays[member.filename.removesuffix(".npy")] = map_npy(target)
    # The memory maps keep the deleted files alive.
    return arrays
