"""Image files on disk: folders of class folders, flat folders, and text lists."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from quantkit.core.errors import BadData
from quantkit.core.preprocess import Preprocess
from quantkit.core.reading import LARGEST_TEXT, read_file
from quantkit.datasets.base import Inputs, Request, Source, Unreadable
from quantkit.datasets.decode import SUFFIXES, decode_rgb, is_one_colour, upright_size
from quantkit.datasets.files import FileDataset, content_of
from quantkit.datasets.fit import fit
from quantkit.datasets.labels import index_labels, read_labels, unlabelled_warning
from quantkit.datasets.size_inputs import image_input, size_values
from quantkit.datasets.transform import transform

LABELS_FILE = "labels.csv"


@dataclass(frozen=True, kw_only=True)
class ImageDataset(FileDataset):
    """Image files, each with an optional annotation, preprocessed for the model input ``input_name``.

    ``constants`` are the values of the model's other inputs, the same for every image.
    """

    source: str
    names: Sequence[str]
    paths: Sequence[Path]
    classes: Sequence[str]
    annotations: Sequence[Any] | None
    input_name: str
    preprocess: Preprocess
    dtype: str = field(default="float32")
    constants: Inputs = field(default_factory=dict)
    what = "image"

    def is_constant(self, index: int) -> bool:
        """True if the image is of one colour. Only files that are small enough for such an image are decoded."""
        try:
            return is_one_colour(self.paths[index])
        except Unreadable:
            return False

    def image_size(self, index: int) -> tuple[int, int] | None:
        """Return the image's (height, width) from the file's header; None if that cannot be read."""
        try:
            return upright_size(self.paths[index])
        except Unreadable:
            return None

    def load(self, index: int) -> tuple[Inputs, bytes]:
        """Decode and preprocess one image. Raises Unreadable."""
        data = content_of(self.paths[index], self.what)
        pixels = transform(decode_rgb(data), self.preprocess)
        return {self.input_name: pixels.astype(self.dtype, copy=False), **self.constants}, hashlib.sha256(data).digest()

    def timed_load(self, index: int) -> tuple[Inputs, float, float]:
        """Return the sample, and the seconds of reading and decoding it and of preprocessing it. Raises Unreadable."""
        start = time.perf_counter()
        image = decode_rgb(content_of(self.paths[index], self.what))
        decoded = time.perf_counter()
        pixels = transform(image, self.preprocess).astype(self.dtype, copy=False)
        return {self.input_name: pixels, **self.constants}, decoded - start, time.perf_counter() - decoded


@dataclass(frozen=True)
class ImageFiles:
    """The contents of a folder or list, independent of a model: paths and class names."""

    source: str
    names: list[str]
    paths: list[Path]
    class_names: list[str | None]
    ordered: bool  # a list is read from its start; a folder is sampled
    labels: Path | None = None  # where someone wrote the classes down
    warnings: tuple[str, ...] = ()


def scan_folder(folder: Path, labels: Path | None = None) -> ImageFiles:
    """Find the images of a folder: one class per subfolder, or flat with classes from a CSV or none.

    Args:
        folder: The folder.
        labels: A CSV of file,class; default: ``labels.csv`` in the folder if there is one.

    Returns:
        The images.

    Raises:
        BadData: There is no image.
    """
    entries = sorted(folder.iterdir())
    flat = [entry for entry in entries if _is_image(entry)]
    by_class = {
        printable(entry.name): images_below(entry) for entry in entries if entry.is_dir() and entry.name[0] != "."
    }
    by_class = {name: paths for name, paths in by_class.items() if paths}
    labels = labels or (folder / LABELS_FILE if (folder / LABELS_FILE).is_file() else None)
    warnings: tuple[str, ...] = ()
    if by_class and labels is None:
        if flat:
            warnings = (f"{len(flat)} images directly in {folder} are ignored, because it has class folders.",)
        found = [(path, name) for name, paths in by_class.items() for path in paths]
        paths = [path for path, _ in found]
        class_names: list[str | None] = [name for _, name in found]
    else:
        paths = sorted(flat + [path for inner in by_class.values() for path in inner])
        class_names = [None] * len(paths)
    if not paths:
        empty = not entries
        raise BadData(
            f"The folder {folder} {'is empty' if empty else 'holds no images'}.",
            f"Give a folder with {', '.join(sorted(SUFFIXES))} files, in class folders or flat.",
        )
    names = [printable(path.relative_to(folder).as_posix()) for path in paths]
    if labels is not None:
        read = read_labels(labels, names)
        class_names, warnings = read.names, read.warnings
    return ImageFiles(str(folder), names, paths, class_names, ordered=False, labels=labels, warnings=warnings)


def scan_list(file: Path) -> ImageFiles:
    """Read a list of images: one path per line, relative to the list, optionally followed by a tab and a class.

    Without a tab the name of the parent folder is the class. Raises BadData for an empty list.
    """
    try:
        lines = read_file(file, LARGEST_TEXT, BadData, "list").decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadData(
            f"{file} is not a text file.", "Give a folder, an .npy or .npz file, or a text file that lists images."
        ) from error
    names: list[str] = []
    paths: list[Path] = []
    classes: list[str | None] = []
    for line in lines:
        if not line.strip():
            continue
        name, tab, label = line.partition("\t")
        path = file.parent / name.strip()
        names.append(name.strip())
        paths.append(path)
        classes.append(label.strip() if tab else path.parent.name or None)
    written = any("\t" in line for line in lines)
    if len({path.parent for path in paths}) == 1 and not written:
        classes = [None] * len(paths)  # a single folder is not a class
    if not names:
        raise BadData(f"The list {file} names no image.", "Write one image path a line, relative to the list.")
    return ImageFiles(str(file), names, paths, classes, ordered=True, labels=file if written else None)


def printable(name: str) -> str:
    """Show bytes that are not UTF-8 as escapes, because file names are not text on every system."""
    return name.encode("utf-8", "backslashreplace").decode()


def class_folders(folder: Path) -> set[str]:
    """Return the names of the folders with images in a folder."""
    inner = (entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")
    return {printable(entry.name) for entry in inner if images_below(entry)}


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file()


def images_below(folder: Path) -> list[Path]:
    """Return the images in a folder and the folders below it, in order, without hidden ones."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        found += [path for name in sorted(files) if _is_image(path := Path(parent) / name)]
    return found


class ImageFolder:
    """A folder of images: one class per subfolder, or flat."""

    def matches(self, path: Path) -> bool:
        """True for a folder."""
        return path.is_dir()

    def open(self, request: Request) -> Source:
        """Open the images. Raises BadData if there are none, or the model has no image input."""
        return images_of(scan_folder(request.path, request.labels), request)


class ImageList:
    """A text file that names images."""

    def matches(self, path: Path) -> bool:
        """True for any file; reading it fails if it is not a list."""
        return path.is_file()

    def open(self, request: Request) -> Source:
        """Open the images, in the list's order. Raises BadData."""
        return images_of(scan_list(request.path), request)


def images_of(files: ImageFiles, request: Request) -> Source:
    """Open image files for a model with one image input. Raises BadData if they do not fit it."""
    image_input(request.inputs)
    known: Sequence[str] = ()
    if request.labels_are_texts:
        written = files.class_names if files.labels is not None else [None]
        annotations: Sequence[Any] | None = None if all(text is None for text in written) else written
    else:
        annotations, known = index_labels(files.class_names, request.classes, files.source, files.labels is not None)
    warnings = (*files.warnings, *unlabelled_warning(annotations, files.labels))
    return images_source(replace(files, warnings=warnings), request, annotations, known)


def images_source(
    files: ImageFiles, request: Request, annotations: Sequence[Any] | None, classes: Sequence[str]
) -> Source:
    """Open image files with annotations of any kind.

    Args:
        files: The files; their class names are not looked at.
        request: The model's input and the preprocessing.
        annotations: The annotation of each image, if there are any.
        classes: The names of the classes that annotations refer to.

    Returns:
        The opened images.

    Raises:
        BadData: They do not fit the model's input.
    """
    notes: list[str] = []
    own = image_input(request.inputs)
    preprocess = fit(request.preprocess, own, notes)
    constants = size_values(request.inputs, preprocess.size or (0, 0))
    notes += [f"The input {name} is always {', '.join(map(str, value))}." for name, value in constants.items()]
    dataset = ImageDataset(
        source=files.source,
        names=files.names,
        paths=files.paths,
        classes=classes,
        annotations=annotations,
        input_name=own.name,
        preprocess=preprocess,
        dtype=own.dtype,
        constants=constants,
    )
    return Source(dataset, ordered=files.ordered, notes=tuple(notes), warnings=files.warnings)
