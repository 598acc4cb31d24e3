"""The digits of the embedded demo: 8x8 images with labels, and their upscaling.

The images come from the UCI "Optical Recognition of Handwritten Digits" data; see LICENSE-digits.md beside this file.
They are stored as published, 8x8 with values 0..16, and are enlarged to 64x64 when they are used.
"""

from __future__ import annotations

import io
from importlib import resources
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

IMAGE_SIZE = 64
"""Height and width, in pixels, of an upscaled image."""

MAX_VALUE = 16
"""Largest value in the stored 8x8 images."""

UInt8Array = npt.NDArray[np.uint8]


def upscale(image8x8: np.ndarray) -> Image.Image:
    """Return a stored 8x8 image (values 0..16) as a 64x64 greyscale image."""
    if image8x8.shape != (8, 8):
        raise ValueError(f"expected an 8x8 image, got shape {image8x8.shape}")
    if image8x8.min() < 0 or image8x8.max() > MAX_VALUE:
        raise ValueError(f"expected values in 0..{MAX_VALUE}")
    grey = np.rint(image8x8.astype(np.float64) * 255.0 / MAX_VALUE).astype(np.uint8)
    # A 2-D uint8 array becomes an image of mode "L".
    return Image.fromarray(grey).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)


def load_split(name: Literal["calib", "eval"]) -> tuple[UInt8Array, UInt8Array]:
    """Return the images (n, 8, 8) and the labels (n,) of one split.

    "calib" holds 200 images, 20 of each digit, all of which were used in training; "eval" holds 600 images, 60 of each
    digit, none of which were used in training.
    """
    if name not in ("calib", "eval"):
        raise ValueError(f"unknown split {name!r}: expected 'calib' or 'eval'")
    data = resources.files("quantkit.demo").joinpath("digits.npz").read_bytes()
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return arrays[f"{name}_images"], arrays[f"{name}_labels"]
