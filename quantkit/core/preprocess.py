"""Preprocessing as data: what is done to a decoded image to make a model input of it."""

from __future__ import annotations

from typing import Any, Literal, cast

from pydantic import Field, model_validator

from quantkit.core.errors import BadConfig
from quantkit.core.record import Record

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Preparation(Record):
    """What a data set that holds no images does to a sample: ``name`` is its kind, ``description`` one line for people.

    ``settings`` are all that decide what comes out, so that two runs can be told apart.
    """

    name: str
    description: str
    settings: dict[str, str | int | float | bool | None] = Field(default_factory=dict)

    def describe(self) -> str:
        """One line for people."""
        return self.description


class Preprocess(Record):
    """The ``[preprocess]`` table. Steps run in this order: resize, channels, scale, mean and std, layout.

    ``size`` is (height, width) of the model input and defaults to what the model states. ``resize`` is how an image
    gets there: "stretch" straight to size; "crop" its shorter side to size / ``crop_pct``, then the centre (256 and 224
    for 0.875); "letterbox" the longer side, the rest filled with ``pad`` (0-255). A pixel p in 0..255 becomes
    (p * scale - mean) / std, per channel. ``layout`` defaults to what the model's input shape shows.
    """

    preset: str = "imagenet-stretch"
    size: tuple[int, int] | None = None
    resize: Literal["stretch", "crop", "letterbox"] = "stretch"
    crop_pct: float = Field(default=0.875, gt=0, le=1)
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] = "bilinear"
    pad: int = Field(default=114, ge=0, le=255)
    channels: Literal["rgb", "bgr", "gray"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    layout: Literal["nchw", "nhwc"] | None = None

    @model_validator(mode="after")
    def _check(self) -> Preprocess:
        wanted = (1, self.depth)
        if len(self.mean) not in wanted or len(self.std) not in wanted:
            raise ValueError(f"mean and std need 1 or {self.depth} values for channels = {self.channels!r}")
        if any(s <= 0 for s in self.std):
            raise ValueError("std must be above 0")
        if self.size is not None and min(self.size) <= 0:
            raise ValueError("size must be two numbers above 0: height, width")
        return self

    @property
    def depth(self) -> int:
        """The number of channels it makes."""
        return 1 if self.channels == "gray" else 3

    def describe(self) -> str:
        """One line for people: what is done to each image."""
        size = "x".join(map(str, self.size)) if self.size else "the model's size"
        how = {"stretch": "resize", "crop": "resize and centre-crop", "letterbox": "letterbox"}[self.resize]
        layout = self.layout.upper() if self.layout else "the model's layout"
        scale = "/255" if abs(self.scale * 255 - 1) < 1e-9 else f"*{self.scale:g}"
        return (
            f"{self.channels.upper()}, {self.interpolation} {how} to {size}, {scale}, mean {list(self.mean)}, "
            f"std {list(self.std)}, {layout}"
        )


_PLAIN: dict[str, Any] = {"mean": (0.0,), "std": (1.0,)}
PRESETS: dict[str, Preprocess] = {
    name: Preprocess(preset=name, **fields)
    for name, fields in cast(
        "dict[str, dict[str, Any]]",
        {
            "imagenet-stretch": {},
            "imagenet": {"resize": "crop"},
            "imagenet-bicubic": {"resize": "crop", "interpolation": "bicubic"},
            "inception": {"resize": "crop", "interpolation": "bicubic", "mean": (0.5,) * 3, "std": (0.5,) * 3},
            "clip": {
                "resize": "crop",
                "crop_pct": 1.0,
                "interpolation": "bicubic",
                "mean": (0.48145466, 0.4578275, 0.40821073),
                "std": (0.26862954, 0.26130258, 0.27577711),
            },
            "caffe": {"channels": "bgr", "scale": 1.0, "mean": (103.939, 116.779, 123.68), "std": (1.0,)},
            "yolo": {"resize": "letterbox", **_PLAIN},
            "zero-to-one": _PLAIN,
            "raw": {"scale": 1.0, **_PLAIN},
            "gray": {"channels": "gray", **_PLAIN},
        },
    ).items()
}
DEFAULT_PRESET = "imagenet-stretch"


def preset(name: str) -> Preprocess:
    """A built-in preset; BadConfig names the ones there are."""
    if name not in PRESETS:
        raise BadConfig(f"There is no preprocessing preset {name!r}.", f"Choose one of: {', '.join(PRESETS)}.")
    return PRESETS[name]
