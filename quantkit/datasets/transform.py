"""Carries out a :class:`~quantkit.core.preprocess.Preprocess` on one image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from quantkit.core.preprocess import Preprocess


def transform(image: Image.Image, preprocess: Preprocess) -> npt.NDArray[np.float32]:
    """An RGB image as float32 of shape (C, H, W), or (H, W, C) for layout "nhwc". ``preprocess.size`` must be set."""
    image = _resized(image, preprocess)
    if preprocess.channels == "gray":
        pixels = np.asarray(image.convert("L"), dtype=np.float32)[:, :, None]
    else:
        pixels = np.asarray(image, dtype=np.float32)
        if preprocess.channels == "bgr":
            pixels = pixels[:, :, ::-1]
    # Divide, subtract, divide: folding them into one multiplication would round differently from the training code
    # that most models were written with.
    values: npt.NDArray[np.float32] = (
        pixels / np.float32(255) if preprocess.scale == 1 / 255 else pixels * np.float32(preprocess.scale)
    )
    mean: npt.NDArray[np.float32] = np.array(preprocess.mean, dtype=np.float32)
    std: npt.NDArray[np.float32] = np.array(preprocess.std, dtype=np.float32)
    values = (values - mean) / std
    return np.ascontiguousarray(values if preprocess.layout == "nhwc" else values.transpose(2, 0, 1))


def _resized(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    assert preprocess.size is not None
    height, width = preprocess.size
    method = Image.Resampling[preprocess.interpolation.upper()]
    if preprocess.resize == "stretch":
        return image if image.size == (width, height) else image.resize((width, height), method)
    if preprocess.resize == "crop":
        shorter = int(min(preprocess.size) / preprocess.crop_pct)
        factor = max(shorter / min(image.size), height / image.height, width / image.width)
        # Rounded down, as torchvision does; the small term keeps 255.99999 from becoming 255.
        enlarged = (int(image.width * factor + 1e-6), int(image.height * factor + 1e-6))
        scaled = image.resize((max(enlarged[0], width), max(enlarged[1], height)), method)
        left, top = round((scaled.width - width) / 2), round((scaled.height - height) / 2)
        return scaled.crop((left, top, left + width, top + height))
    factor = min(height / image.height, width / image.width)
    inner = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    canvas = Image.new("RGB", (width, height), (preprocess.pad,) * 3)
    canvas.paste(image.resize(inner, method), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas
