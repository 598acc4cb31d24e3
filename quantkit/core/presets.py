"""The preprocessing presets by name."""

from __future__ import annotations

from typing import Any, cast

from quantkit.core.errors import BadConfig
from quantkit.core.preprocess import Preprocess
from quantkit.core.torchvision_presets import torchvision_preset
from quantkit.core.wording import choice_of

_PLAIN: dict[str, Any] = {"mean": (0.0,), "std": (1.0,)}
PRESETS: dict[str, Preprocess] = {
    name: Preprocess(preset=name, **fields)
    for name, fields in cast(
        "dict[str, dict[str, Any]]",
        {
            "auto": {},
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
AUTO_PRESET = "auto"  # what the model says of itself, else imagenet-stretch
DEFAULT_PRESET = AUTO_PRESET
DESCRIBED = ("ultralytics", "huggingface", "timm")  # what a model says of itself, by who wrote it; no ground for more


def preset(name: str) -> Preprocess:
    """Return a preset: a built-in one, or that of torchvision's weights. Raises BadConfig for an unknown name."""
    found = PRESETS.get(name) or torchvision_preset(name)
    if found is None:
        raise BadConfig(
            f"There is no preprocessing preset {name!r}.",
            f"{choice_of(name, PRESETS)[:-1]}; or torchvision's weights, such as ResNet50_Weights.IMAGENET1K_V2.",
        )
    return found
