"""MSE: the threshold with the least expected squared quantization error.

Sung, Shin, Hwang, "Resiliency of Deep Neural Networks under Quantization" (2015), https://arxiv.org/abs/1511.06488, and
Nagel et al., "A White Paper on Neural Network Quantization" (2021), https://arxiv.org/abs/2106.08295, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from quantkit.calibrators.golden_section import golden_section
from quantkit.calibrators.rounding_error import RoundingError
from quantkit.core.histogram import Histogram
from quantkit.core.ranges import TensorRange

LEVELS = 127  # largest int8 magnitude of the symmetric scheme
RATIO = 2 ** (1 / 8)  # between neighbouring thresholds of the coarse grid
COARSE = RATIO ** -np.arange(73.0)  # shares of the largest value, down to 1/512
TOLERANCE = 1 / 2048  # of the threshold; the error near its minimum changes by the square of this

Floats = npt.NDArray[np.float64]


def mse(histogram: Histogram) -> TensorRange:
    """The amax that minimises E[(x - quantized x)²] under symmetric int8, 127 levels on either side of zero.

    A geometric grid down to 1/512 of the largest value, then a golden-section search between the neighbours of its
    best. Values are taken as uniform inside each bin.
    """
    error = RoundingError(histogram.absolute)
    largest = histogram.largest / histogram.width
    share = best_share(lambda share: error(share * largest / LEVELS, np.zeros_like(share), LEVELS + 1))
    return TensorRange.symmetric(share * histogram.largest, histogram.minimum, histogram.maximum)


def best_share(error: Callable[[Floats], Floats]) -> float:
    """The share of the largest value, in (0, 1], with the least ``error``, a function of (k,) float64 shares."""
    coarse = error(COARSE)
    best = int(np.argmin(coarse))
    at = float(COARSE[best])
    fine, found = golden_section(error, at / RATIO, min(at * RATIO, 1.0), at * TOLERANCE)
    return fine if found < coarse[best] else at
