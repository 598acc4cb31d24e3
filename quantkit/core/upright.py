"""Turns photographs as their EXIF data says."""

from __future__ import annotations

from PIL import Image, ImageOps


def upright(image: Image.Image) -> Image.Image:
    """Return the image turned as its EXIF data says, or as it is if that data is damaged."""
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - Pillow lets through whatever its parser stumbles over
        return image
