"""Decodes an image file to RGB as people see it."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from quantkit.core.upright import upright
from quantkit.datasets.base import Unreadable

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
HEADER = 1000  # bytes of a file that are not pixels
FEW_BYTES = 0.05  # per pixel, in an image of one colour
MALFORMED = (
    struct.error,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    ZeroDivisionError,
)  # what Pillow lets through
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width
FORMATS = ("JPEG", "PNG", "BMP", "WEBP")


def decode_rgb(data: bytes) -> Image.Image:
    """Decode JPEG, PNG, BMP or WebP bytes. EXIF rotation is applied, transparency put on white, 16 bits reduced to 8.

    Raises Unreadable with the reason.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.load()
            return _to_rgb(upright(image))
    except UnidentifiedImageError as error:
        raise Unreadable("not an image") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, EOFError, *MALFORMED) as error:
        raise Unreadable(str(error) or type(error).__name__) from error


def upright_size(path: Path) -> tuple[int, int]:
    """Return an image's (height, width) after EXIF rotation, from its header alone. Raises Unreadable."""
    try:
        if not path.is_file():
            raise Unreadable("not a file")
        with Image.open(path, formats=FORMATS) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation) in TURNED
            return (image.width, image.height) if turned else (image.height, image.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, EOFError, *MALFORMED) as error:
        raise Unreadable(str(error) or type(error).__name__) from error


def is_one_colour(path: Path) -> bool:
    """True if all pixels of the file are the same. Raises Unreadable.

    An image of one colour compresses so well that larger files need not be decoded.
    """
    if not path.is_file():
        raise Unreadable("not a file")
    try:
        with Image.open(path, formats=FORMATS) as image:
            pixels = image.width * image.height
            if image.format != "BMP" and path.stat().st_size > HEADER + FEW_BYTES * pixels:
                return False
            rgb = np.asarray(_to_rgb(image))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, EOFError, *MALFORMED) as error:
        raise Unreadable(str(error) or type(error).__name__) from error
    return bool((rgb == rgb[0, 0]).all())


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):  # 16-bit grayscale; Pillow's own conversion would clip it at 255
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
