"""MSE for asymmetric schemes: the two ends with the least expected squared quantization error.

Nagel et al., "A White Paper on Neural Network Quantization" (2021), https://arxiv.org/abs/2106.08295, section 3.1,
gives the criterion; Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (2018), https://arxiv.org/abs/1712.05877, section 3.1, put zero on the grid like this.
"""

from __future__ import annotations

import numpy as np

from quantkit.calibrators.mse import best_share
from quantkit.calibrators.numerics.rounding_error import Floats, Number, RoundingError
from quantkit.calibrators.numerics.signed import ZERO, signed_counts
from quantkit.core.ranges import STEPS, TensorRange
from quantkit.core.statistics.histogram import Histogram

REACH = 0.5 + 1e-9  # steps


def mse_asymmetric(histogram: Histogram) -> TensorRange:
    """Return the low and high that minimise E[(x - quantized x)²] under affine uint8.

    The grid contains zero: step = (high - low) / 255, zero-point = round(-low / step). The error is that of the grid
    with the rounded zero-point; the range returned is the one before rounding, and never exceeds the values seen. The
    step is searched like the threshold in :func:`quantkit.calibrators.mse.mse`; each step is tried with every
    zero-point that a range of that width can have. An end without values stays at zero. Values are assumed uniform
    inside each bin.
    """
    lowest, highest = max(-histogram.minimum, 0.0), max(histogram.maximum, 0.0)
    left, right = lowest / histogram.width, highest / histogram.width
    widest = (left + right) / STEPS
    expected = RoundingError(signed_counts(histogram), first=-ZERO)
    # An end without values stays at zero, and with it the zero-point.
    least, most = 0 if highest else STEPS, STEPS if lowest else 0
    zero_points = np.arange(least, most + 1)

    def errors(share: Number) -> Floats:
        step = share * widest
        if least == most:
            return expected(step, least, STEPS + 1)[..., None]
        tried = expected.of_zero_points(step, STEPS + 1, least, most)
        # Rounding the zero-point shifts a range by up to half a step, so a grid may exceed the values seen by that much
        # although the range does not.
        tried[zero_points > np.asarray(left / step + REACH)[..., None]] = np.inf
        tried[zero_points < np.asarray(STEPS - REACH - right / step)[..., None]] = np.inf
        return tried

    share = best_share(lambda share: errors(share).min(axis=-1))
    zero_point = least + int(errors(share).argmin())
    span = share * (lowest + highest)
    low = max(-zero_point * span / STEPS, -lowest)
    high = min(low + span, highest)
    return TensorRange.asymmetric(max(high - span, -lowest), high)
