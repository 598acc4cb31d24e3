"""YOLO data sets: images/, labels/ with a text file for each image, and a data.yaml with the class names.

Format: https://docs.ultralytics.com/datasets/detect/. A line is "class x y width height", centre and size as shares of
the image's width and height; or "class x1 y1 x2 y2 x3 y3 …", the corners of a polygon, of which the box counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadData
from quantkit.core.wording import some
from quantkit.datasets.annotated import in_order, open_annotated, read_text, safe_path
from quantkit.datasets.base import Request, Source, Unreadable
from quantkit.datasets.boxes import Boxes, BoxReader
from quantkit.datasets.data_yaml import SPLITS, DataYaml, read_data_yaml
from quantkit.datasets.decode import upright_size
from quantkit.datasets.images import ImageFiles, images_below, printable

YAML_SUFFIXES = (".yaml", ".yml")
YAML = "data.yaml"
IMAGES, LABELS = "images", "labels"
LINE_HINT = "Write lines of: class x y width height, as shares of the image's size."


@dataclass(frozen=True)
class Layout:
    """Where the images of a split and their labels are; both have the same tree of folders."""

    images: Path
    labels: Path
    note: str = ""


class YoloFolder:
    """A data.yaml, a folder with images/ and labels/, or one of the folders in images/ beside its labels/."""

    def matches(self, path: Path) -> bool:
        """True for a YAML file, and for a folder with a data.yaml or with label files."""
        if path.is_file():
            return path.suffix.lower() in YAML_SUFFIXES
        return (path / YAML).is_file() or _layout_of(path) is not None

    def open(self, request: Request) -> Source:
        """Open the images of one split. Raises BadData for labels that are damaged, or do not fit the classes."""
        path = request.path
        file = path if path.is_file() else _yaml_of(path)
        data = None if file is None else read_data_yaml(file)
        layout = _layout_of(path) if path.is_dir() else None
        if layout is None:
            assert data is not None and file is not None
            layout = _split(data, file)
        return _opened(layout, data, file or layout.labels, request)


def _opened(layout: Layout, data: DataYaml | None, file: Path, request: Request) -> Source:
    paths = images_below(layout.images)
    if not paths:
        raise BadData(f"The folder {layout.images} holds no images.", "Put the images there, or name another split.")
    labels = [layout.labels / path.relative_to(layout.images).with_suffix(".txt") for path in paths]
    missing = [path.name for path, label in zip(paths, labels, strict=True) if not label.is_file()]
    if len(missing) == len(paths):
        raise BadData(
            f"No image in {layout.images} has a label file in {layout.labels}.",
            "Give each image a text file of the same name; an image without objects needs none.",
        )
    own = data.names if data is not None else request.classes
    reader = BoxReader(str(layout.labels))
    root = request.path if request.path.is_dir() else request.path.parent
    files = ImageFiles(str(request.path), [], paths, [], ordered=False)
    order = None if data is None else in_order(data.names, data.names if request.classes else (), request, file)
    index = None if data is None or order is None else [order[name] for name in data.names]
    boxes: list[Boxes] = []
    for path, label in zip(paths, labels, strict=True):
        inside = path.is_relative_to(root)
        files.names.append(printable((path.relative_to(root) if inside else path).as_posix()))
        boxes.append(_boxes(reader, path, label, index, None if own is None else len(own)))
    classes = request.classes or own or _numbered(boxes)
    source = open_annotated(files, request, boxes, tuple(classes))
    notes = (*source.notes, *([layout.note] if layout.note else []), *reader.notes())
    return Source(
        source.dataset, notes=notes, warnings=(*source.warnings, *reader.warnings(), *_orphans(layout, labels))
    )


def _boxes(reader: BoxReader, path: Path, label: Path, index: Sequence[int] | None, count: int | None) -> Boxes:
    """Read the label file of one image; without one, the image is background."""
    lines = [line.split() for line in read_text(label, "label file").splitlines()] if label.is_file() else []
    try:
        size = upright_size(path)
    except Unreadable:
        size = (1, 1)  # the image is skipped later
    classes, edges = [], []
    for words in filter(None, lines):
        number, box = _line(words, label)
        if count is not None and number >= count:
            raise BadData(
                f"{label} has the class {number}, outside the classes 0 to {count - 1}.",
                "Name every class in data.yaml, or in [data] classes.",
            )
        classes.append(number if index is None else index[number])
        edges.append(box * np.array([size[1], size[0], size[1], size[0]]))
    return reader.boxes(path.name, size, [[*box.tolist()] for box in edges], classes)


def _line(words: Sequence[str], label: Path) -> tuple[int, npt.NDArray[np.float64]]:
    """Return the class and the box of a line, as shares of the image."""
    if len(words) < 5 or len(words) % 2 == 0:
        raise BadData(f"{label} has a line with {len(words)} words: {' '.join(words)[:60]!r}.", LINE_HINT)
    try:
        number, values = float(words[0]), np.array(words[1:], np.float64)
    except ValueError as error:
        raise BadData(f"{label} has a word that is no number: {' '.join(words)[:60]!r}.", LINE_HINT) from error
    if not number.is_integer() or number < 0:
        raise BadData(f"{label} has the class {words[0][:20]}, which is no index.", LINE_HINT)
    if not np.isfinite(values).all() or np.abs(values).max() > 2:
        raise BadData(f"{label} has coordinates that are no shares of the image: {' '.join(words)[:60]!r}.", LINE_HINT)
    if len(values) > 4:
        points = values.reshape(-1, 2)
        return int(number), np.concatenate([points.min(axis=0), points.max(axis=0)])
    centre, half = values[:2], values[2:] / 2
    return int(number), np.concatenate([centre - half, centre + half])


def _numbered(boxes: Sequence[Boxes]) -> tuple[str, ...]:
    """Return names for classes that have none."""
    count = max((int(own.classes.max(initial=-1)) for own in boxes), default=-1) + 1
    return tuple(f"class {number}" for number in range(count))


def _orphans(layout: Layout, labels: Sequence[Path]) -> tuple[str, ...]:
    known = set(labels)
    files = layout.labels.rglob("*.txt") if layout.labels.is_dir() else ()
    lost = sorted(file.name for file in files if file not in known and file.name != "classes.txt")
    return (f"{len(lost)} label files in {layout.labels} belong to no image: {some(lost)}.",) if lost else ()


def _layout_of(folder: Path) -> Layout | None:
    """Return where images and labels of a folder are; None if it is no such folder."""
    if (folder / IMAGES).is_dir() and (folder / LABELS).is_dir():
        for split in SPLITS:
            if (folder / IMAGES / split).is_dir():
                note = f"Of the splits in {folder}, {split} is used."
                return Layout(folder / IMAGES / split, folder / LABELS / split, note)
        if any((folder / LABELS).rglob("*.txt")):
            return Layout(folder / IMAGES, folder / LABELS)
    labels = _labels_of(folder)
    return Layout(folder, labels) if labels is not None and any(labels.rglob("*.txt")) else None


def _labels_of(images: Path) -> Path | None:
    """Return the labels of a folder of images: the last part called images becomes labels."""
    parts = images.absolute().parts
    if IMAGES not in parts:
        return None
    place = len(parts) - 1 - parts[::-1].index(IMAGES)
    return Path(*parts[:place], LABELS, *parts[place + 1 :])


def _yaml_of(folder: Path) -> Path | None:
    """Return the data.yaml of a folder, or of one of the two above it, as for images/train and train/images."""
    for above in (folder, *folder.absolute().parents[:2]):
        if (above / YAML).is_file():
            return above / YAML
    return None


def _split(data: DataYaml, file: Path) -> Layout:
    """Return the split of a data.yaml to evaluate on: its validation images, else its test or training images."""
    for split in SPLITS:
        if split not in data.splits:
            continue
        # Roboflow writes ../valid/images for a folder beside the file.
        name = data.splits[split]
        plain = name.removeprefix("./").removeprefix("../") if not (data.root / name).exists() else name
        images = safe_path(data.root, plain.removeprefix("./"), file)
        if (images / IMAGES).is_dir():
            images = images / IMAGES
        labels = _labels_of(images)
        if images.is_dir() and labels is not None:
            return Layout(images, labels, f"Of the splits in {file}, {split} is used.")
    raise BadData(
        f"{file} names no folder of images that is there.",
        "Check its path, val and train, or name a folder as the data.",
    )
