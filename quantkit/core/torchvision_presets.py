"""How torchvision's published weights want their images, by the name of the weights.

Source: the ``transforms`` of each entry in https://docs.pytorch.org/vision/stable/models.html (torchvision 0.29). All
of them resize the shorter side, crop the centre, divide by 255 and take ImageNet's mean and standard deviation; one
takes 0.5.
"""

from __future__ import annotations

from typing import Any

from quantkit.core.errors import BadConfig
from quantkit.core.preprocess import Preprocess

USUAL = (256, 224, "bilinear")  # the shorter side, the crop and the interpolation
# The weights of other numbers; those of a model as a whole are named without a version.
OTHERS: dict[tuple[int, int, str], str] = {
    (232, 224, "bilinear"): (
        "IMAGENET1K_V2 ConvNeXt_Base ConvNeXt_Large MNASNet0_75 MNASNet1_3 ResNeXt101_64X4D ShuffleNet_V2_X1_5 "
        "ShuffleNet_V2_X2_0"
    ),
    (230, 224, "bilinear"): "ConvNeXt_Small",
    (236, 224, "bilinear"): "ConvNeXt_Tiny",
    (242, 224, "bilinear"): "ViT_L_16",
    (342, 299, "bilinear"): "Inception_V3",
    (255, 240, "bilinear"): "EfficientNet_B1.IMAGENET1K_V2",
    (384, 384, "bilinear"): "EfficientNet_V2_S",
    (480, 480, "bilinear"): "EfficientNet_V2_M",
    (480, 480, "bicubic"): "EfficientNet_V2_L",
    (256, 224, "bicubic"): "EfficientNet_B0",
    (256, 240, "bicubic"): "EfficientNet_B1",
    (288, 288, "bicubic"): "EfficientNet_B2",
    (320, 300, "bicubic"): "EfficientNet_B3",
    (384, 380, "bicubic"): "EfficientNet_B4",
    (456, 456, "bicubic"): "EfficientNet_B5",
    (528, 528, "bicubic"): "EfficientNet_B6",
    (600, 600, "bicubic"): "EfficientNet_B7",
    (224, 224, "bicubic"): "IMAGENET1K_SWAG_LINEAR_V1 MaxVit_T",
    (384, 384, "bicubic"): "IMAGENET1K_SWAG_E2E_V1",
    (512, 512, "bicubic"): "ViT_L_16.IMAGENET1K_SWAG_E2E_V1",
    (518, 518, "bicubic"): "ViT_H_14.IMAGENET1K_SWAG_E2E_V1",
    (232, 224, "bicubic"): "Swin_T",
    (246, 224, "bicubic"): "Swin_S",
    (238, 224, "bicubic"): "Swin_B",
    (260, 256, "bicubic"): "Swin_V2_T Swin_V2_S",
    (272, 256, "bicubic"): "Swin_V2_B",
}
NUMBERS = {name: numbers for numbers, names in OTHERS.items() for name in names.split()}
HALVES = {"EfficientNet_V2_L"}  # mean and standard deviation 0.5
V1, V2, E2E, LINEAR = "IMAGENET1K_V1", "IMAGENET1K_V2", "IMAGENET1K_SWAG_E2E_V1", "IMAGENET1K_SWAG_LINEAR_V1"
VERSIONED: dict[tuple[str, ...], str] = {
    (V1,): (
        "AlexNet ConvNeXt_Tiny ConvNeXt_Small ConvNeXt_Base ConvNeXt_Large DenseNet121 DenseNet161 DenseNet169 "
        "DenseNet201 EfficientNet_B0 EfficientNet_B2 EfficientNet_B3 EfficientNet_B4 EfficientNet_B5 EfficientNet_B6 "
        "EfficientNet_B7 EfficientNet_V2_S EfficientNet_V2_M EfficientNet_V2_L GoogLeNet Inception_V3 MNASNet0_5 "
        "MNASNet0_75 MNASNet1_0 MNASNet1_3 MaxVit_T MobileNet_V3_Small ResNet18 ResNet34 ResNeXt101_64X4D "
        "ShuffleNet_V2_X0_5 ShuffleNet_V2_X1_0 ShuffleNet_V2_X1_5 ShuffleNet_V2_X2_0 SqueezeNet1_0 SqueezeNet1_1 "
        "Swin_T Swin_S Swin_B Swin_V2_T Swin_V2_S Swin_V2_B VGG11 VGG11_BN VGG13 VGG13_BN VGG16 VGG16_BN VGG19 "
        "VGG19_BN ViT_B_32 ViT_L_32"
    ),
    (V1, V2): (
        "EfficientNet_B1 MobileNet_V2 MobileNet_V3_Large RegNet_X_400MF RegNet_X_800MF RegNet_X_1_6GF RegNet_X_3_2GF "
        "RegNet_X_8GF RegNet_X_16GF RegNet_X_32GF RegNet_Y_400MF RegNet_Y_800MF RegNet_Y_1_6GF RegNet_Y_3_2GF "
        "RegNet_Y_8GF ResNet50 ResNet101 ResNet152 ResNeXt50_32X4D ResNeXt101_32X8D Wide_ResNet50_2 Wide_ResNet101_2"
    ),
    (V1, V2, E2E, LINEAR): "RegNet_Y_16GF RegNet_Y_32GF",
    (V1, E2E, LINEAR): "ViT_B_16 ViT_L_16",
    (E2E, LINEAR): "RegNet_Y_128GF ViT_H_14",
}
VERSIONS = {model: versions for versions, models in VERSIONED.items() for model in models.split()}


def torchvision_preset(name: str) -> Preprocess | None:
    """Return what weights want, such as "ResNet50_Weights.IMAGENET1K_V2"; None if the name is of another form.

    Raises:
        BadConfig: torchvision publishes no such weights.
    """
    model, separator, version = name.partition("_Weights.")
    if not separator:
        return None
    if version not in VERSIONS.get(model, ()):
        named = [f"{model}_Weights.{own}" for own in VERSIONS.get(model, ())]
        raise BadConfig(
            f"torchvision publishes no weights {name!r} for classification.",
            f"Choose one of: {', '.join(named)}." if named else "Write it like ResNet50_Weights.IMAGENET1K_V2.",
        )
    keys = [f"{model}.{version}", *([model] if version == V1 else []), version]
    shorter, crop, interpolation = next((NUMBERS[key] for key in keys if key in NUMBERS), USUAL)
    fields: dict[str, Any] = {"interpolation": interpolation}
    if model in HALVES:
        fields |= {"mean": (0.5,), "std": (0.5,)}
    return Preprocess(preset=name, size=(crop, crop), resize="crop", crop_pct=crop / shorter, **fields)
