"""Segmentation masks: a folder of images beside a folder of PNGs whose pixels are class indices.

Pairs of folders: ``images`` and ``masks`` (or ``annotations``, ``labels``), and Pascal VOC's ``JPEGImages`` and
``SegmentationClass``. A mask has its image's name and size. COCO stuff's pixel maps, Cityscapes' ``labelTrainIds`` and
ADE20K's annotations are of this form. 255 is no class: such pixels are not judged.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from quantkit.core.errors import BadData
from quantkit.core.reading import LARGEST_IMAGE, check_regular
from quantkit.core.wording import some
from quantkit.datasets.annotated import read_text
from quantkit.datasets.base import Request, Source, Unreadable
from quantkit.datasets.decode import SUFFIXES, upright_size
from quantkit.datasets.images import ImageFiles, images_below, images_source
from quantkit.datasets.mask import Indices, Mask
from quantkit.datasets.size_inputs import image_input

MASKS = "masks"
PAIRS = (
    ("images", MASKS),
    ("images", "annotations"),
    ("images", "labels"),
    ("JPEGImages", "SegmentationClass"),
)
CLASSES_FILE = "classes.txt"
MODES = ("1", "L", "P", "I", "I;16")
HINT = "Save it as a PNG of class indices: grayscale or with a palette."


@dataclass(frozen=True)
class PngMask(Mask):
    """A mask on the disk.

    Attributes:
        path: The PNG.
        size: (height, width), the same as its image's.
    """

    path: Path
    size: tuple[int, int]

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def load(self) -> Indices:
        """Return the class of each pixel, (height, width); 0 and 1 for a mask of two colours. Raises BadData."""
        return _read(self.path, self.size)

    def stamp(self) -> int:
        """Return the time of the file's last change, in ns; 0 if there is no file."""
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return 0


class MaskFolder:
    """A folder with images and masks."""

    def matches(self, path: Path) -> bool:
        """True for a folder with one of the pairs of folders, of which the second holds a PNG or is called masks."""
        return _folders(path) is not None

    def open(self, request: Request) -> Source:
        """Open the images. Raises BadData for an image without a mask, or a mask of another size."""
        found = _folders(request.path)
        assert found is not None
        images, masks = found
        image_input(request.inputs)
        if request.labels is not None:
            raise BadData(f"{request.path} has masks, so the labels file {request.labels} has no use.", "Leave it out.")
        paths = images_below(images)
        if not paths:
            raise BadData(f"{images} holds no images.", f"Put {', '.join(sorted(SUFFIXES))} files there.")
        each = [_mask_of(path, images, masks) for path in paths]
        missing = [path.name for path, mask in zip(paths, each, strict=True) if mask is None]
        if len(missing) == len(paths):
            raise BadData(
                f"No image in {images} has a mask in {masks}.", "Save each as a PNG that is named like its image."
            )
        told = tuple([f"{len(missing)} images have no mask: {some(missing)}."] if missing else [])
        names = [path.relative_to(request.path).as_posix() for path in paths]
        files = ImageFiles(str(request.path), names, paths, [None] * len(paths), ordered=False, warnings=told)
        classes = request.classes if request.classes is not None else _classes(request.path)
        return images_source(files, request, each, classes)


def _folders(path: Path) -> tuple[Path, Path] | None:
    for images, masks in PAIRS:
        if not ((path / images).is_dir() and (path / masks).is_dir()):
            continue
        if masks == MASKS or next((path / masks).rglob("*.png"), None):
            return path / images, path / masks
    return None


def _mask_of(image: Path, images: Path, masks: Path) -> PngMask | None:
    """Return an image's mask; None without one. Raises BadData if it is no mask, or of another size."""
    path = masks / image.relative_to(images).with_suffix(".png")
    if not path.is_file():
        return None
    check_regular(path, BadData, "mask")
    try:
        size = upright_size(image)
    except Unreadable:
        return None  # the image is skipped, and said so, when it is read
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG",)) as opened:
                mode, own = opened.mode, (opened.height, opened.width)
    except Exception as error:  # Pillow lets through whatever its parsers stumble over
        raise BadData(f"The mask {path} cannot be read ({error}).", HINT) from error
    if mode not in MODES:
        raise BadData(f"The mask {path} holds {mode} colours, not class indices.", HINT)
    if own != size:
        raise BadData(
            f"The mask {path} is {own[1]}x{own[0]} pixels, but its image {size[1]}x{size[0]}.",
            "Give masks of their images' sizes.",
        )
    return PngMask(path, size)


def _classes(folder: Path) -> Sequence[str]:
    file = folder / CLASSES_FILE
    lines = read_text(file, "classes file").splitlines() if file.is_file() else ()
    return [line.strip() for line in lines if line.strip()]


def _read(path: Path, size: tuple[int, int]) -> Indices:
    try:
        if path.stat().st_size > LARGEST_IMAGE:
            raise BadData(f"The mask {path} is too large.", HINT)
        with Image.open(path, formats=("PNG",)) as opened:
            found = np.asarray(opened)
    except BadData:
        raise
    except Exception as error:
        raise BadData(f"The mask {path} cannot be read ({error}).", HINT) from error
    if found.shape != size:
        raise BadData(f"The mask {path} has changed since it was opened.", "Give the command again.")
    return found.astype(np.int32)
