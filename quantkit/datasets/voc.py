"""Pascal VOC: Annotations/*.xml, JPEGImages/ and, if there, ImageSets/Main.

Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/. Pixels count from 1 there, and the last one is part of
the box. Objects marked as difficult are not judged, as in VOC's own evaluation.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantkit.core.errors import BadData
from quantkit.core.wording import some
from quantkit.datasets.annotated import LARGEST_SIDE, in_order, open_annotated, read_text, safe_path, size_of
from quantkit.datasets.base import Request, Source
from quantkit.datasets.boxes import BoxReader
from quantkit.datasets.decode import SUFFIXES
from quantkit.datasets.images import ImageFiles

ANNOTATIONS = "Annotations"
IMAGES = ("JPEGImages", "images", "Images", ".")
SETS = ("val", "test", "trainval", "train")  # in the order in which one is chosen
HINT = "Write it in Pascal VOC's form: annotation, object, name, bndbox, xmin …"


@dataclass(frozen=True)
class Drawn:
    """The contents of one XML file: the image's name, its stated (height, width), and the objects."""

    file_name: str
    size: tuple[int, int] | None
    names: tuple[str, ...]
    edges: tuple[tuple[float, float, float, float], ...]
    difficult: tuple[bool, ...]


class VocFolder:
    """A folder with Annotations/*.xml."""

    def matches(self, path: Path) -> bool:
        """True for a folder with at least one XML file in Annotations/."""
        return any((path / ANNOTATIONS).glob("*.xml"))

    def open(self, request: Request) -> Source:
        """Open the annotated images. Raises BadData for annotations that are damaged, or do not fit the classes."""
        folder = request.path
        files, note = _chosen(folder)
        found = [read_voc(file) for file in files]
        used = sorted({name for one in found for name in one.names})
        order = in_order(used, used, request, folder / ANNOTATIONS)
        reader = BoxReader(str(folder / ANNOTATIONS))
        images = ImageFiles(str(folder), [], [], [], ordered=False)
        boxes = []
        for file, one in zip(files, found, strict=True):
            path = _image_of(folder, file, one)
            size = size_of(path, one.size, file)
            if size is None:
                raise BadData(f"{file} belongs to an image that is not there.", "Put it into JPEGImages.")
            boxes.append(reader.boxes(file.name, size, one.edges, [order[name] for name in one.names], one.difficult))
            images.names.append(path.relative_to(folder).as_posix())
            images.paths.append(path)
        source = open_annotated(images, request, boxes, tuple(request.classes or order))
        notes = (*source.notes, *([note] if note else []), *reader.notes())
        return Source(source.dataset, notes=notes, warnings=(*source.warnings, *reader.warnings()))


def read_voc(file: Path) -> Drawn:
    """Read one XML file. Raises BadData if it is damaged, or has a document type, with which entities come."""
    text = read_text(file, "annotation file")
    if not text.strip():
        raise BadData(f"The annotation file {file} is empty.", HINT)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BadData(f"{file} declares a document type or entities, which are not read.", "Leave them out.")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise BadData(f"{file} is not valid XML ({error}).", HINT) from error
    names, edges, difficult = [], [], []
    for found in root.iter("object"):
        name = (found.findtext("name") or "").strip()
        if not name:
            raise BadData(f"{file} has an object without a name.", HINT)
        names.append(name)
        left, top, right, bottom = (_number(found, f"bndbox/{key}", file) for key in ("xmin", "ymin", "xmax", "ymax"))
        edges.append((max(left - 1, 0.0), max(top - 1, 0.0), right, bottom))
        difficult.append((found.findtext("difficult") or "").strip() == "1")
    size = None
    if root.find("size") is not None:
        height, width = (int(_number(root, f"size/{key}", file)) for key in ("height", "width"))
        size = (height, width) if 0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE else None
    return Drawn((root.findtext("filename") or "").strip(), size, tuple(names), tuple(edges), tuple(difficult))


def _number(element: ElementTree.Element, place: str, file: Path) -> float:
    text = element.findtext(place)
    try:
        number = float(text or "")
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadData(f"{file} has {text!r:.40} where {place} should be a number.", HINT)
    return number


def _chosen(folder: Path) -> tuple[list[Path], str]:
    """Return the XML files of an image set, or all; and how they were chosen."""
    files = sorted((folder / ANNOTATIONS).glob("*.xml"))
    for name in SETS:
        listed = folder / "ImageSets" / "Main" / f"{name}.txt"
        if not listed.is_file():
            continue
        words = [line.split()[0] for line in read_text(listed, "image set").splitlines() if line.split()]
        chosen = [safe_path(folder / ANNOTATIONS, f"{word}.xml", listed) for word in dict.fromkeys(words)]
        missing = [file.name for file in chosen if not file.is_file()]
        if missing:
            raise BadData(f"{listed} names {len(missing)} images without annotation: {some(missing)}.", "Remove them.")
        if chosen:
            return chosen, f"Of the image sets in {folder}, {name} is used."
    return files, ""


def _image_of(folder: Path, file: Path, drawn: Drawn) -> Path:
    """Return the image of an XML file: of the same name, or of the name in it."""
    names: Sequence[str] = [file.stem + suffix for suffix in sorted(SUFFIXES)]
    if drawn.file_name:
        names = [drawn.file_name, *names]
    for place in IMAGES:
        for name in names:
            path = safe_path(folder / place, name, file)
            if path.is_file():
                return path
    return safe_path(folder / IMAGES[0], names[0], file)
