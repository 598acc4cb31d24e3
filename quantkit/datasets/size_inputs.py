"""Inputs beside the image that want to know its size, as detectors exported with their postprocessing have them.

They get the size that the model's own input has, and not the file's: boxes are in the input's pixels then, as every
other detector's, and are mapped back by what the preprocessing did.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadData
from quantkit.core.wording import some
from quantkit.graph.model_io import ModelInput

# What an input of two values is given for the input's height and width, by its name.
VALUES: dict[re.Pattern[str], Callable[[int, int], tuple[float, float]]] = {
    # RT-DETR, D-FINE, DEIM: https://github.com/lyuwenyu/RT-DETR, tools/export_onnx.py
    re.compile(r"orig(inal)?_(target_)?sizes?", re.IGNORECASE): lambda height, width: (width, height),
    # PaddleDetection: https://github.com/PaddlePaddle/PaddleDetection, deploy/README_en.md
    re.compile(r"im(age)?_shape", re.IGNORECASE): lambda height, width: (height, width),
    re.compile(r"scale_factor", re.IGNORECASE): lambda height, width: (1, 1),
}


def image_input(inputs: Sequence[ModelInput]) -> ModelInput:
    """Return the input that images feed. Raises BadData if there are others than those of sizes."""
    images = [own for own in inputs if not is_size(own)]
    if len(images) != 1:
        raise BadData(
            f"The model has {len(inputs)} inputs ({some([own.name for own in inputs])}), but images feed one.",
            "Give the inputs as an .npz with one array for each.",
        )
    return images[0]


def is_size(own: ModelInput) -> bool:
    """True for an input that wants a size."""
    return own.sample_shape == (2,) and any(pattern.fullmatch(own.name) for pattern in VALUES)


def size_values(inputs: Sequence[ModelInput], size: tuple[int, int]) -> Mapping[str, npt.NDArray[np.generic]]:
    """Return the values of the inputs that want a size, (2,) each.

    Args:
        inputs: The model's inputs.
        size: (height, width) of the image's input.
    """
    return {
        own.name: np.array(value(*size), own.dtype)
        for own in inputs
        if is_size(own)
        for pattern, value in VALUES.items()
        if pattern.fullmatch(own.name)
    }
