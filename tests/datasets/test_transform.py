from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from quantkit.core.errors import BadInput
from quantkit.core.preprocess import Preprocess
from quantkit.core.presets import PRESETS, preset
from quantkit.datasets.transform import transform

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
IMAGE = Image.fromarray(PIXELS)


def test_the_default_is_what_imagenet_training_code_does() -> None:
    got = transform(IMAGE, Preprocess(size=(24, 32), layout="nchw"))
    resized = np.asarray(IMAGE.resize((32, 24), Image.Resampling.BILINEAR), np.float32) / 255
    mean, std = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
    assert got.dtype == np.float32
    assert got.shape == (3, 24, 32)
    assert np.array_equal(got, ((resized - mean) / std).transpose(2, 0, 1))


def test_layout_channels_and_scale() -> None:
    raw = PRESETS["raw"].model_copy(update={"size": (30, 50), "layout": "nhwc"})
    assert np.array_equal(transform(IMAGE, raw), PIXELS.astype(np.float32))
    bgr = raw.model_copy(update={"channels": "bgr"})
    assert np.array_equal(transform(IMAGE, bgr), PIXELS[:, :, ::-1].astype(np.float32))
    gray = PRESETS["gray"].model_copy(update={"size": (30, 50), "layout": "nchw"})
    assert transform(IMAGE, gray).shape == (1, 30, 50)


def test_crop_takes_the_centre() -> None:
    settings = PRESETS["raw"].model_copy(update={"size": (30, 30), "resize": "crop", "crop_pct": 1.0, "layout": "nhwc"})
    assert np.array_equal(transform(IMAGE, settings), PIXELS[:, 10:40].astype(np.float32))


def test_the_imagenet_preset_is_resize_256_crop_224() -> None:
    """Against torchvision's arithmetic for a 500x375 image: 256 for the shorter side, 341 for the longer, cut down."""
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (375, 500, 3), dtype=np.uint8))
    settings = PRESETS["imagenet"].model_copy(
        update={"size": (224, 224), "layout": "nhwc", "scale": 1.0, "mean": (0.0,), "std": (1.0,)}
    )
    scaled = image.resize((341, 256), Image.Resampling.BILINEAR)
    left, top = round((341 - 224) / 2), round((256 - 224) / 2)
    assert np.array_equal(
        transform(image, settings), np.asarray(scaled, np.float32)[top : top + 224, left : left + 224]
    )


def test_letterbox_keeps_the_aspect_and_pads() -> None:
    settings = PRESETS["yolo"].model_copy(update={"size": (50, 50), "layout": "nhwc", "scale": 1.0})
    got = transform(IMAGE, settings)
    assert np.array_equal(got[10:40], PIXELS.astype(np.float32))
    assert (got[:10] == 114).all()
    assert (got[40:] == 114).all()


@pytest.mark.parametrize("size", [(7, 200), (224, 224), (1, 1), (300, 3)])
def test_every_preset_gives_the_size_asked_for_from_any_image(size: tuple[int, int]) -> None:
    for settings in PRESETS.values():
        fitted = settings.model_copy(update={"size": size, "layout": "nchw"})
        for image in (IMAGE, IMAGE.resize((1, 90)), IMAGE.resize((640, 2))):
            assert transform(image, fitted).shape == (settings.depth, *size)


@pytest.mark.parametrize(
    "fields", [{"mean": (1.0, 2.0)}, {"std": (0.0,)}, {"channels": "gray"}, {"size": (0, 3)}, {"unknown": 1}]
)
def test_settings_that_make_no_sense_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Preprocess(**fields)  # type: ignore[arg-type]


def test_an_unknown_preset_is_named_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"'resnet'.*imagenet"):
        preset("resnet")
