"""Puts preprocessing into OpenVINO's IR, so that it takes the pixels of a decoded image, and prepares them in parallel.

Source: https://docs.openvino.ai/2026/openvino-workflow/running-inference/optimize-inference/optimize-preprocessing.html
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from quantkit.core.errors import TargetRefuses
from quantkit.core.preprocess import Preprocess
from quantkit.targets.openvino import library

EMBEDDED_FILE = "model_u8.xml"
# Pillow's own algorithms, with its antialiasing and rounding. Others of Pillow's OpenVINO does not have.
PILLOW = {"bilinear": "RESIZE_BILINEAR_PILLOW", "bicubic": "RESIZE_BICUBIC_PILLOW"}


def embed_preprocessing(ir: Path, preprocess: Preprocess, input_name: str, folder: Path) -> str:
    """Write an IR, made from another, that takes u8 pixels of layout NHWC and does the preprocessing itself.

    Args:
        ir: The ``model.xml`` to start from.
        preprocess: The preprocessing of images, with its size and layout.
        input_name: The name of the model's input.
        folder: Gets ``model_u8.xml`` and ``model_u8.bin``.

    Returns:
        What the new IR takes, in words. If images are stretched, they may be of any size; otherwise they must have been
        cropped or letterboxed before, and have the model's size.

    Raises:
        TargetRefuses: OpenVINO cannot express it.
        BackendMissing: OpenVINO is needed and cannot be used.
    """
    openvino = library.openvino()
    from openvino.preprocess import ColorFormat, PrePostProcessor, ResizeAlgorithm

    resizes = preprocess.resize == "stretch" and preprocess.interpolation in PILLOW
    try:
        model = library.core().read_model(str(ir))
        processor = PrePostProcessor(model)
        own = processor.input(input_name)
        own.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        own.model().set_layout(openvino.Layout((preprocess.layout or "nchw").upper()))
        steps = own.preprocess()
        if preprocess.channels == "bgr":
            own.tensor().set_color_format(ColorFormat.RGB)
            steps.convert_color(ColorFormat.BGR)
        if resizes:
            own.tensor().set_spatial_dynamic_shape()
            steps.resize(getattr(ResizeAlgorithm, PILLOW[preprocess.interpolation]))
        steps.convert_element_type(openvino.Type.f32)
        # One after the other, as images were prepared for the calibration: folded numbers would round otherwise.
        steps.scale(float(np.float32(1 / preprocess.scale)))
        steps.mean([float(preprocess.mean[i % len(preprocess.mean)]) for i in range(preprocess.depth)])
        steps.scale([float(preprocess.std[i % len(preprocess.std)]) for i in range(preprocess.depth)])
        built = processor.build()
        openvino.save_model(built, str(folder / EMBEDDED_FILE), compress_to_fp16=False)
    except RuntimeError as error:
        raise TargetRefuses(
            f"OpenVINO cannot put the preprocessing into the model ({error}).", "Leave it out of the model."
        ) from error
    height, width = preprocess.size or (0, 0)
    size = "of any size" if resizes else f"of {height}×{width}, cropped or letterboxed as before"
    channels = "gray" if preprocess.depth == 1 else "RGB"
    return f"takes u8 pixels, NHWC, {channels}, {size}"
