"""Preprocessing as data: the steps from a decoded image to a model input."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from quantkit.core.record import Record

SMALLEST_CROP = 0.1  # an image is enlarged to a hundred times what is kept of it then
LARGEST_SIDE = 1 << 14  # pixels
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Preparation(Record):
    """The preparation of samples by a data set that has no images.

    Attributes:
        name: The kind of data set.
        description: One line for display.
        settings: All settings that affect the result, so that two runs can be compared.
    """

    name: str
    description: str
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict)

    def describe(self) -> str:
        """Describe the preparation in one line."""
        return self.description


class Preprocess(Record):
    """The ``[preprocess]`` table. Steps run in this order: resize, channels, scale, mean and std, layout.

    A pixel p in 0..255 becomes (p * scale - mean) / std, per channel.

    Attributes:
        preset: The name of the preset; "auto" is what the model says of itself, where nothing but ``size`` and
            ``layout`` is set.
        size: (height, width) of the model input; default: the model's.
        resize: "stretch" resizes straight to ``size``. "crop" resizes the shorter side to size / ``crop_pct`` and keeps
            the centre (256 and 224 for 0.875). "letterbox" fits the longer side and fills the rest with ``pad``.
        crop_pct: See ``resize``.
        interpolation: The resampling method.
        pad: The grey value of the letterbox, 0-255.
        channels: The order of the channels.
        scale: The factor of the pixel values.
        mean: One value, or one for each channel.
        std: One value, or one for each channel.
        layout: The order of the dimensions; default: judged by the model's input shape.
    """

    preset: str = "imagenet-stretch"
    size: tuple[int, int] | None = None
    resize: Literal["stretch", "crop", "letterbox"] = "stretch"
    crop_pct: float = Field(default=0.875, ge=SMALLEST_CROP, le=1)
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] = "bilinear"
    pad: int = Field(default=114, ge=0, le=255)
    channels: Literal["rgb", "bgr", "gray"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    layout: Literal["nchw", "nhwc"] | None = None

    @model_validator(mode="after")
    def _check(self) -> Preprocess:
        for key, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, self.depth):
                need = "1 value" if self.depth == 1 else f"1 or {self.depth} values"
                raise ValueError(f"{key} has {len(values)} values and needs {need} for channels = {self.channels!r}")
        if not all(map(math.isfinite, (self.scale, *self.mean, *self.std))) or self.scale == 0:
            raise ValueError("scale, mean and std must be finite, and scale not 0")
        if any(s <= 0 for s in self.std):
            raise ValueError("std must be above 0")
        if self.size is not None and not (min(self.size) > 0 and max(self.size) <= LARGEST_SIDE):
            raise ValueError(f"size must be two numbers from 1 to {LARGEST_SIDE}: height, width")
        return self

    @property
    def depth(self) -> int:
        """The number of channels of the result."""
        return 1 if self.channels == "gray" else 3

    def describe(self) -> str:
        """Describe the steps in one line."""
        size = "x".join(map(str, self.size)) if self.size else "the model's size"
        how = {"stretch": "resize", "crop": "resize and centre-crop", "letterbox": "letterbox"}[self.resize]
        layout = self.layout.upper() if self.layout else "the model's layout"
        scale = "/255" if abs(self.scale * 255 - 1) < 1e-9 else f"*{self.scale:g}"
        return (
            f"{self.channels.upper()}, {self.interpolation} {how} to {size}, {scale}, mean {list(self.mean)}, "
            f"std {list(self.std)}, {layout}"
        )
