"""Bias correction: a layer's bias takes up the mean error that rounding its weight makes.

After Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019), section 4.2,
https://arxiv.org/abs/1906.04721, with the inputs' means as calibration measured them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def mean_error(
    weight: npt.NDArray[np.float32], rounded: npt.NDArray[np.float32], means: npt.NDArray[np.float64], groups: int = 1
) -> npt.NDArray[np.float64]:
    """What ``rounded`` adds to each output channel's mean in place of ``weight``: float64 of shape (O,).

    ``weight`` and ``rounded`` are a Conv's, of shape (O, I / groups, ...), or a transposed Gemm's, (O, I); ``means`` of
    shape (I,) is E[x] of every input channel. Zeros that a Conv pads with are taken for ordinary values.
    """
    outputs, inputs = weight.shape[:2]
    error = (rounded.astype(np.float64) - weight).reshape(outputs, inputs, -1).sum(axis=2)
    group = np.repeat(np.arange(groups), outputs // groups)
    result: npt.NDArray[np.float64] = (error * means.reshape(groups, inputs)[group]).sum(axis=1)
    return result
