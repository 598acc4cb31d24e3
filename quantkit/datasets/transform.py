"""Applies a :class:`~quantkit.core.preprocess.Preprocess` to an image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from quantkit.core.preprocess import Preprocess
from quantkit.datasets.geometry import Geometry


def transform(image: Image.Image, preprocess: Preprocess) -> npt.NDArray[np.float32]:
    """Preprocess an RGB image.

    Args:
        image: The image.
        preprocess: The preprocessing; its ``size`` must be set.

    Returns:
        float32 of shape (C, H, W), or (H, W, C) for layout "nhwc".
    """
    image = _resized(image, preprocess)
    pixels = np.asarray(image.convert("L"))[:, :, None] if preprocess.channels == "gray" else np.asarray(image)
    if preprocess.channels == "bgr":
        pixels = pixels[:, :, ::-1]
    values = np.empty((pixels.shape[2], *pixels.shape[:2]), np.float32)
    for channel, plane in enumerate(values):
        plane[:] = pixels[:, :, channel]
        # Divide, subtract, divide: one folded multiplication would round differently from the code that most models
        # were trained with.
        if preprocess.scale == 1 / 255:
            plane /= np.float32(255)
        else:
            plane *= np.float32(preprocess.scale)
        plane -= np.float32(preprocess.mean[channel % len(preprocess.mean)])
        plane /= np.float32(preprocess.std[channel % len(preprocess.std)])
    return np.ascontiguousarray(values.transpose(1, 2, 0)) if preprocess.layout == "nhwc" else values


def _resized(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    assert preprocess.size is not None
    height, width = preprocess.size
    method = Image.Resampling[preprocess.interpolation.upper()]
    placed = Geometry.of(preprocess, (image.height, image.width))
    inner = (placed.resized[1], placed.resized[0])
    if preprocess.resize == "stretch":
        return image if image.size == inner else image.resize(inner, method)
    scaled = image.resize(inner, method)
    if preprocess.resize == "crop":
        left, top = -placed.left, -placed.top
        return scaled.crop((left, top, left + width, top + height))
    canvas = Image.new("RGB", (width, height), (preprocess.pad,) * 3)
    canvas.paste(scaled, (placed.left, placed.top))
    return canvas
