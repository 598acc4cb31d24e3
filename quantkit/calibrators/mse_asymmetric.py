"""MSE for asymmetric schemes: the two ends with the least expected squared quantization error.

Nagel et al., "A White Paper on Neural Network Quantization" (2021), https://arxiv.org/abs/2106.08295, section 3.1,
names the criterion; Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (2018), https://arxiv.org/abs/1712.05877, section 3.1, put zero on the grid like this.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from quantkit.calibrators.golden_section import golden_section
from quantkit.calibrators.mse import best_share
from quantkit.calibrators.rounding_error import RoundingError
from quantkit.calibrators.signed import ZERO, signed_counts
from quantkit.core.histogram import Histogram
from quantkit.core.ranges import TensorRange

LEVELS = 255  # steps of uint8
COARSE = 2.0 ** (-np.arange(12) / 2)  # shares of each end, tried with one another
ROUNDS = 4  # of the alternating search at most; two or three are usual
TOLERANCE = 1 / 256  # of an end
IMPROVEMENT = 1e-3  # a round that gains a smaller share of the error is the last

Floats = npt.NDArray[np.float64]


def mse_asymmetric(histogram: Histogram) -> TensorRange:
    """The low and high that minimise E[(x - quantized x)²] under affine uint8.

    The grid goes through zero: step = (high - low) / 255, zero-point = round(-low / step), and the ends of the grid are
    where that puts them; the range returned is the one before this rounding, never beyond what was seen. A coarse
    grid over both ends, then golden-section searches on each end in turn until they gain nothing. An end without values
    stays at zero, and the other is searched as in :func:`quantkit.calibrators.mse.mse`. Values are taken as uniform
    inside each bin.
    """
    lowest, highest = max(-histogram.minimum, 0.0), max(histogram.maximum, 0.0)
    left, right = lowest / histogram.width, highest / histogram.width
    expected = RoundingError(signed_counts(histogram), first=-ZERO)

    def error(low: Floats, high: Floats) -> Floats:
        step = (low * left + high * right) / LEVELS
        return expected(step, np.rint(low * left / step), LEVELS + 1)

    if lowest == 0:
        return TensorRange.asymmetric(0.0, best_share(lambda high: error(np.zeros(1), high)) * highest)
    if highest == 0:
        return TensorRange.asymmetric(-best_share(lambda low: error(low, np.zeros(1))) * lowest, 0.0)
    low, high = _best_shares(error)
    return TensorRange.asymmetric(-low * lowest, high * highest)


def _best_shares(error: Callable[[Floats, Floats], Floats]) -> tuple[float, float]:
    """The shares of both ends, in (0, 1], with the least ``error``."""
    tried = error(COARSE[:, None], COARSE[None, :])
    row, column = np.unravel_index(int(np.argmin(tried)), tried.shape)
    ends, least = [float(COARSE[row]), float(COARSE[column])], float(tried[row, column])
    reach = float(COARSE[0] / COARSE[1])
    for _ in range(ROUNDS):
        before = least
        for end in (0, 1):

            def along(share: Floats, end: int = end) -> Floats:
                other = np.array(ends[1 - end])
                return error(other, share) if end else error(share, other)

            at = ends[end]
            share, found = golden_section(along, at / reach, min(at * reach, 1.0), at * TOLERANCE)
            if found < least:
                ends[end], least = share, found
        if least > before * (1 - IMPROVEMENT):
            break
        reach **= 0.5
    return ends[0], ends[1]
