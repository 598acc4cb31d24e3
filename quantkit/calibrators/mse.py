"""MSE: the threshold with the least expected squared quantization error.

Sung, Shin, Hwang, "Resiliency of Deep Neural Networks under Quantization" (2015), https://arxiv.org/abs/1511.06488, and
Nagel et al., "A White Paper on Neural Network Quantization" (2021), https://arxiv.org/abs/2106.08295, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from quantkit.calibrators.numerics.golden_section import golden_section
from quantkit.calibrators.numerics.rounding_error import Floats, Number, RoundingError
from quantkit.core.ranges import LEVELS, TensorRange
from quantkit.core.statistics.histogram import Histogram

COARSE = 2 ** -(np.arange(19) / 2)  # shares of the largest value, down to 1/512
RATIO = 2 ** (1 / 16)  # between neighbouring thresholds of the fine grid
FINE = RATIO ** np.arange(-7.0, 8.0)  # covers the gap to both neighbours in the coarse grid
TOLERANCE = 1 / 256  # of the threshold; near its minimum the error changes with the square of this


def mse(histogram: Histogram) -> TensorRange:
    """Return the amax that minimises E[(x - quantized x)²] under symmetric int8, with 127 levels on each side of zero.

    The search tries a geometric grid down to 1/512 of the largest value, then a finer grid around the best point, then
    a golden-section search between the neighbours of the best of those. Values are assumed uniform inside each bin.
    """
    error = RoundingError(histogram.absolute)
    largest = histogram.largest / histogram.width
    share = best_share(lambda share: error(share * (largest / LEVELS), 0.0, LEVELS + 1))
    return TensorRange.symmetric(share * histogram.largest, histogram.minimum, histogram.maximum)


def best_share(error: Callable[[Number], Floats]) -> float:
    """Return the share of the largest value, in (0, 1], with the least ``error``, an elementwise function of shares."""
    at, least = 1.0, np.inf
    for grid in (COARSE, FINE):
        shares = np.minimum(at * grid, 1.0)
        errors = error(shares)
        best = int(errors.argmin())
        at, least = float(shares[best]), float(errors[best])
    share, found = golden_section(lambda share: float(error(share)), at / RATIO, min(at * RATIO, 1.0), at * TOLERANCE)
    return share if found < least else at
