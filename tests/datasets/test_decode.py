from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from quantkit.datasets.base import Unreadable
from quantkit.datasets.decode import decode_rgb

RED = (200, 30, 40)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def colour(data: bytes, x: int = 4, y: int = 4) -> tuple[int, ...]:
    image = decode_rgb(data)
    assert image.mode == "RGB"
    return image.getpixel((x, y))  # type: ignore[return-value]


@pytest.mark.parametrize("format", ["PNG", "BMP", "WEBP", "JPEG"])
def test_formats(format: str) -> None:
    assert colour(encoded(Image.new("RGB", (16, 16), RED), format)) == pytest.approx(RED, abs=6)


def test_grayscale() -> None:
    assert colour(encoded(Image.new("L", (8, 8), 77), "PNG")) == (77, 77, 77)


def test_sixteen_bit_grayscale_is_scaled_not_clipped() -> None:
    image = Image.fromarray(np.full((8, 8), 0x8000, np.uint16))
    assert colour(encoded(image, "PNG")) == (128, 128, 128)


def test_bilevel() -> None:
    assert colour(encoded(Image.new("1", (8, 8), 1), "PNG")) == (255, 255, 255)


def test_cmyk() -> None:
    data = encoded(Image.new("RGB", (8, 8), RED).convert("CMYK"), "JPEG", quality=95)
    assert colour(data) == pytest.approx(RED, abs=12)


def test_palette_with_and_without_transparency() -> None:
    palette = Image.new("RGB", (8, 8), RED).convert("P", palette=Image.Palette.ADAPTIVE)
    assert colour(encoded(palette, "PNG")) == pytest.approx(RED, abs=2)
    assert colour(encoded(palette, "PNG", transparency=palette.getpixel((4, 4)))) == (255, 255, 255)


def test_alpha_lies_over_white() -> None:
    assert colour(encoded(Image.new("RGBA", (8, 8), (*RED, 0)), "PNG")) == (255, 255, 255)
    assert colour(encoded(Image.new("RGBA", (8, 8), (*RED, 255)), "PNG")) == RED
    assert colour(encoded(Image.new("LA", (8, 8), (0, 127)), "PNG")) == pytest.approx((128,) * 3, abs=1)


def test_exif_rotation_is_applied() -> None:
    image = Image.new("RGB", (40, 20), (0, 0, 0))
    image.paste(RED, (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown rotated by 90 degrees clockwise
    shown = decode_rgb(encoded(image, "JPEG", exif=exif, quality=95))
    assert shown.size == (20, 40)
    assert shown.getpixel((10, 5)) == pytest.approx(RED, abs=12)
    assert shown.getpixel((10, 35)) == pytest.approx((0, 0, 0), abs=12)


@pytest.mark.parametrize("data", [b"", b"just text", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_what_is_no_image_is_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        decode_rgb(data)


def test_a_truncated_image_is_unreadable() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    for format in ("JPEG", "PNG"):
        data = encoded(noise, format)
        with pytest.raises(Unreadable):
            decode_rgb(data[: len(data) // 2])


def test_a_decompression_bomb_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.new("1", (3000, 3000)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    with pytest.raises(Unreadable):
        decode_rgb(data)
