"""COCO's polygons and run lengths as masks: stuff_*.json and instances_*.json, for segmentation.

Format: https://cocodataset.org/#format-data. A segmentation is a list of polygons, [x, y, x, y, …] in pixels, or run
lengths down the columns, as numbers or compressed to a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantkit.core.errors import BackendMissing, BadData
from quantkit.datasets.annotated import open_annotated
from quantkit.datasets.base import Request, Source
from quantkit.datasets.coco_file import (
    CocoImage,
    Found,
    annotation_files,
    is_coco,
    is_number,
    only_file,
    read_coco,
)
from quantkit.datasets.images import ImageFiles, printable
from quantkit.datasets.mask import IGNORED, Indices, Mask

BACKGROUNDS = ("background", "__background__", "_background_")
HINT = "Write polygons of at least three points, or run lengths with the size of their image."


@dataclass(frozen=True, eq=False)
class CocoMask(Mask):
    """The objects of an image, those that come later over those before.

    Attributes:
        image: The name of the image.
        file: The file of annotations.
        size: (height, width) of the image.
        objects: The class index and the segmentation of each.
        background: The class of pixels without an object.
    """

    image: str
    file: Path
    size: tuple[int, int]
    objects: Sequence[tuple[int, Any]]
    background: int

    @property
    def name(self) -> str:
        """The image and the file."""
        return f"of {self.image[:100]} in {self.file}"

    def load(self) -> Indices:
        """Return the class of each pixel, (height, width). Raises BadData for a damaged segmentation."""
        found = np.full(self.size, self.background, np.int32)
        for number, segmentation in self.objects:
            found[_pixels(segmentation, self.size, self.name)] = number
        return found


class CocoMasks:
    """A COCO JSON file whose annotations have segmentations, or a folder that holds one."""

    def matches(self, path: Path) -> bool:
        """True for a .json file, and for a folder with Roboflow's, annotations/stuff_*.json or instances_*.json."""
        return is_coco(path) or bool(_files(path))

    def open(self, request: Request) -> Source:
        """Open the images. Raises BadData for annotations that are damaged, or do not fit the images."""
        _check_installed()
        path = request.path
        file = path if path.is_file() else only_file(path, _files(path))
        coco = read_coco(file, request)
        if len(coco.classes) > IGNORED:
            raise BadData(
                f"{file} has {len(coco.classes)} categories; masks tell {IGNORED} apart.", "Leave some of them out."
            )
        background, shift, note = _background(coco.classes)
        masks = [_mask(image, file, background, shift) for image in coco.images]
        names = [printable(image.name) for image in coco.images]
        files = ImageFiles(str(request.images or path), names, [image.path for image in coco.images], [], ordered=False)
        classes = ("background", *coco.classes) if shift else coco.classes
        source = open_annotated(files, request, masks, classes)
        return Source(source.dataset, notes=(*source.notes, note), warnings=source.warnings)


def _files(folder: Path) -> list[Path]:
    return annotation_files(folder, "stuff") or annotation_files(folder)


def _background(classes: Sequence[str]) -> tuple[int, int, str]:
    """Return the class of pixels without an object, what is added to classes' indices, and a note."""
    named = next((number for number, name in enumerate(classes) if name.lower() in BACKGROUNDS), None)
    if named is not None:
        return named, 0, f"Pixels without an object are {classes[named]}."
    if len(classes) == 1:
        return 0, 1, f"Pixels of {classes[0]} are 1, all others 0."
    return IGNORED, 0, "Pixels without an object are not judged, for no class is called background."


def _mask(image: CocoImage, file: Path, background: int, shift: int) -> CocoMask:
    for annotation in image.annotations:
        _check(annotation, image, file)
    drawn = sorted(zip(image.classes, image.annotations, strict=True), key=lambda own: -_area(own[1]))
    objects = [(number + shift, annotation["segmentation"]) for number, annotation in drawn]
    return CocoMask(image.name, file, image.size, objects, background)


def _area(annotation: Found) -> float:
    """Return the object's area as the file states it: small objects are drawn over large ones."""
    area = annotation.get("area")
    return float(area) if is_number(area) else 0.0


def _check(annotation: Found, image: CocoImage, file: Path) -> None:
    """Raise BadData if an annotation has no segmentation of its image's size."""
    own = annotation.get("segmentation")
    if isinstance(own, dict):
        if own.get("size") != list(image.size):
            raise BadData(
                f"{file} has an annotation (id {annotation['id']}) with run lengths of the size {own.get('size')!r}; "
                f"the image is {list(image.size)}.",
                "Give annotations of these images.",
            )
        counts = own.get("counts")
        fits = isinstance(counts, str) or (
            isinstance(counts, list)
            and all(isinstance(count, int) and count >= 0 for count in counts)
            and sum(counts) == image.size[0] * image.size[1]
        )
    else:
        fits = bool(own) and isinstance(own, list) and all(map(_is_polygon, own))
    if not fits:
        raise BadData(f"{file} has an annotation (id {annotation['id']}) without a segmentation.", HINT)


def _is_polygon(own: Any) -> bool:
    return isinstance(own, list) and len(own) >= 6 and len(own) % 2 == 0 and all(map(is_number, own))


def _pixels(segmentation: Any, size: tuple[int, int], name: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return the pixels of a segmentation, bool (height, width)."""
    from faster_coco_eval.core import mask

    try:
        if isinstance(segmentation, list):
            runs = mask.merge(mask.frPyObjects(segmentation, *size))
        elif isinstance(segmentation["counts"], list):
            runs = mask.frPyObjects(segmentation, *size)
        else:
            runs = {"size": list(size), "counts": segmentation["counts"].encode()}
        found = np.asarray(mask.decode(runs)).astype(np.bool_)
    except Exception as error:  # whatever the decoder makes of a damaged text
        raise BadData(f"The mask {name} cannot be read ({str(error)[:100]}).", HINT) from error
    if found.shape != size:
        raise BadData(f"The mask {name} cannot be read (it is of the shape {found.shape}).", HINT)
    return found


def _check_installed() -> None:
    try:
        import faster_coco_eval  # noqa: F401
    except ImportError as error:
        raise BackendMissing(
            "COCO's polygons and run lengths need faster-coco-eval, which is not installed.",
            "Install it with: pip install 'quantkit-int8[detection]'.",
        ) from error
