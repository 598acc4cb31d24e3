"""torchvision's published preprocessing by the name of the weights."""

from __future__ import annotations

import pytest

from quantkit.core.errors import BadConfig
from quantkit.core.presets import preset


@pytest.mark.parametrize(
    ("name", "shorter", "crop", "interpolation"),
    [
        ("ResNet50_Weights.IMAGENET1K_V1", 256, 224, "bilinear"),
        ("ResNet50_Weights.IMAGENET1K_V2", 232, 224, "bilinear"),
        ("Inception_V3_Weights.IMAGENET1K_V1", 342, 299, "bilinear"),
        ("EfficientNet_B1_Weights.IMAGENET1K_V1", 256, 240, "bicubic"),
        ("EfficientNet_B1_Weights.IMAGENET1K_V2", 255, 240, "bilinear"),
        ("ViT_L_16_Weights.IMAGENET1K_V1", 242, 224, "bilinear"),
        ("ViT_L_16_Weights.IMAGENET1K_SWAG_E2E_V1", 512, 512, "bicubic"),
        ("ViT_L_16_Weights.IMAGENET1K_SWAG_LINEAR_V1", 224, 224, "bicubic"),
        ("Swin_S_Weights.IMAGENET1K_V1", 246, 224, "bicubic"),
    ],
)
def test_sizes(name: str, shorter: int, crop: int, interpolation: str) -> None:
    own = preset(name)
    assert own.size == (crop, crop)
    assert round(crop / own.crop_pct, 6) == shorter
    assert own.interpolation == interpolation
    assert own.preset == name


def test_one_has_no_imagenet_mean() -> None:
    assert preset("EfficientNet_V2_L_Weights.IMAGENET1K_V1").mean == (0.5,)


@pytest.mark.parametrize("name", ["ResNet50_Weights.IMAGENET1K_V3", "ResNet51_Weights.IMAGENET1K_V1", "resnet50"])
def test_unknown_names_have_a_way_out(name: str) -> None:
    with pytest.raises(BadConfig) as caught:
        preset(name)
    assert "IMAGENET1K_V2" in caught.value.hint
