"""Thumbnails of samples, as data: URIs to embed in the page."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterable
from pathlib import Path

from quantkit.core.upright import upright
from quantkit.datasets.coco_file import SUFFIX as COCO_SUFFIX
from quantkit.datasets.coco_file import annotation_files, image_folders
from quantkit.datasets.yolo import YAML_SUFFIXES
from quantkit.reports.content.changed import Changed

SIDE = 112  # pixels of the longer side; shown as 56 on a dense screen
BOXES_SIDE = 480  # of images that boxes are drawn on
QUALITY = 70


def make_thumbnails(data: str, names: Iterable[str], side: int = SIDE) -> dict[str, str]:
    """Make thumbnails of samples.

    Names are untrusted, because they come from a file. So only files inside the folder are opened; those of a list
    only where they lie in its own folder; those of a COCO file only in the folders where its images may lie.

    Args:
        data: The folder of images, the list of images, or the file with their annotations.
        names: The names of the samples.
        side: The pixels of the longer side.

    Returns:
        JPEGs as data: URIs by name, for samples that are images and still exist.
    """
    source = Path(data)
    listed: set[str] | None = None
    roots = [source]
    if source.suffix.lower() == COCO_SUFFIX and source.is_file():
        roots = image_folders(source)
    elif source.is_dir() and len(files := annotation_files(source)) == 1:
        roots = image_folders(files[0])
    elif source.suffix.lower() in YAML_SUFFIXES and source.is_file():
        roots = [source.parent]
    elif source.is_file():
        try:
            lines = source.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return {}
        listed = {line.split("\t")[0].strip() for line in lines}
        roots = [source.parent]
    found = {}
    for name in names if listed is None else (name for name in names if name in listed):
        path = next((path for root in roots if (path := root / name).is_file() and _is_inside(path, root)), None)
        if path is not None and (thumbnail := _thumbnail(path, side)):
            found[name] = thumbnail
    return found


def pictures_of(data: str, changed: Iterable[Changed]) -> dict[str, str]:
    """Return the pictures of all changed samples, larger where boxes are drawn; see :func:`make_thumbnails`."""
    parts = list(changed)
    small = dict.fromkeys(flip.name for part in parts for flip in part.images)
    large = dict.fromkeys(picture.name for part in parts if part.objects for picture in part.objects.pictures)
    large |= dict.fromkeys(picture.name for part in parts if part.maps for picture in part.maps.pictures)
    return make_thumbnails(data, small) | make_thumbnails(data, large, BOXES_SIDE)


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _thumbnail(path: Path, side: int) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                opened.draft("RGB", (2 * side, 2 * side))
                image = upright(opened).convert("RGB")
        image.thumbnail((side, side))
        image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - Pillow lets through whatever its parsers stumble over
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
