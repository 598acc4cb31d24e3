"""Thumbnails of samples, as data: URIs to embed in the page."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterable
from pathlib import Path

from quantkit.core.upright import upright

SIDE = 112  # pixels of the longer side; shown as 56 on a dense screen
QUALITY = 70


def make_thumbnails(data: str, names: Iterable[str]) -> dict[str, str]:
    """Make thumbnails of samples.

    Names are untrusted, because they come from a file. So only files inside the folder are opened; those of a list
    only where they lie in its own folder.

    Args:
        data: The folder of images, or the list of images.
        names: The names of the samples.

    Returns:
        JPEGs as data: URIs by name, for samples that are images and still exist.
    """
    source = Path(data)
    listed: set[str] | None = None
    if source.is_file():
        try:
            lines = source.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return {}
        listed = {line.split("\t")[0].strip() for line in lines}
    root = source.parent if listed is not None else source
    found = {}
    for name in names:
        path = root / name
        inside = path.resolve().is_relative_to(root.resolve()) and (listed is None or name in listed)
        if inside and path.is_file() and (thumbnail := _thumbnail(path)):
            found[name] = thumbnail
    return found


def _thumbnail(path: Path) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                opened.draft("RGB", (2 * SIDE, 2 * SIDE))
                image = upright(opened).convert("RGB")
        image.thumbnail((SIDE, SIDE))
        image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - Pillow lets through whatever its parsers stumble over
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
