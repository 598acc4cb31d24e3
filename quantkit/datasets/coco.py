"""COCO's object detection annotations: a JSON file, and images beside it.

Boxes are [left, top, width, height] in pixels.
"""

from __future__ import annotations

from pathlib import Path

from quantkit.core.errors import BadData
from quantkit.datasets.annotated import open_annotated
from quantkit.datasets.base import Request, Source
from quantkit.datasets.boxes import Boxes, BoxReader
from quantkit.datasets.coco_file import CocoImage, Found, annotation_files, is_coco, is_number, only_file, read_coco
from quantkit.datasets.images import ImageFiles, printable


class CocoJson:
    """A COCO JSON file, or a folder that holds exactly one."""

    def matches(self, path: Path) -> bool:
        """True for a .json file, and for a folder with Roboflow's file or with annotations/instances_*.json."""
        return is_coco(path) or bool(annotation_files(path))

    def open(self, request: Request) -> Source:
        """Open the images. Raises BadData for annotations that are damaged, or do not fit the images."""
        path = request.path
        file = path if path.is_file() else only_file(path, annotation_files(path))
        coco = read_coco(file, request)
        reader = BoxReader(str(file))
        boxes = [_boxes(reader, image, file) for image in coco.images]
        names = [printable(image.name) for image in coco.images]
        paths = [image.path for image in coco.images]
        files = ImageFiles(str(request.images or path), names, paths, [], ordered=False)
        source = open_annotated(files, request, boxes, coco.classes)
        notes = (*source.notes, *reader.notes())
        return Source(source.dataset, notes=notes, warnings=(*source.warnings, *reader.warnings()))


def _boxes(reader: BoxReader, image: CocoImage, file: Path) -> Boxes:
    return reader.boxes(
        image.name,
        image.size,
        [_edges(annotation, file) for annotation in image.annotations],
        image.classes,
        [bool(annotation.get("iscrowd", 0)) for annotation in image.annotations],
        [_area(annotation) for annotation in image.annotations],
    )


def _edges(annotation: Found, file: Path) -> tuple[float, float, float, float]:
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(is_number(value) for value in box):
        raise BadData(
            f"{file} has an annotation (id {annotation['id']}) without a bbox of four finite numbers.",
            "Write [left, top, width, height] in pixels.",
        )
    left, top, width, height = map(float, box)
    return left, top, left + width, top + height


def _area(annotation: Found) -> float:
    """Return the object's area as the file states it, which is that of its mask; else that of its box."""
    area = annotation.get("area")
    return float(area) if is_number(area) else float(annotation["bbox"][2]) * float(annotation["bbox"][3])
