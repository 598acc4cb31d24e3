"""MSE: the threshold with the least expected squared quantization error.

Sung, Shin, Hwang, "Resiliency of Deep Neural Networks under Quantization" (2015), https://arxiv.org/abs/1511.06488, and
Nagel et al., "A White Paper on Neural Network Quantization" (2021), https://arxiv.org/abs/2106.08295, section 3.1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantkit.core.histogram import BINS, Counts, Histogram

LEVELS = 127  # largest int8 magnitude of the symmetric scheme
COARSE = 96  # thresholds tried over the whole range
FINE = 32  # then between the neighbours of the best

Floats = npt.NDArray[np.float64]


def mse(histogram: Histogram) -> float:
    """The amax that minimises E[(x - quantized x)²] under symmetric int8, by a grid and a finer grid around its best.

    Values are taken as uniform inside each bin, and the error is integrated over the bin exactly, so the result does
    not suffer when quantization steps are as narrow as bins.
    """
    counts = histogram.absolute
    top = histogram.largest / histogram.width
    coarse = np.linspace(top / COARSE, top, COARSE)
    best = int(np.argmin(expected_errors(counts, coarse)))
    fine = np.linspace(coarse[max(best - 1, 0)], coarse[min(best + 1, COARSE - 1)], FINE)
    return float(fine[np.argmin(expected_errors(counts, fine))] * histogram.width)


def expected_errors(counts: Counts, amax: Floats) -> Floats:
    """Mean squared error of each candidate; ``amax`` float64 of shape (K,) in bin widths, the result in bin widths².

    Clipped values count with (|x| - amax)².
    """
    edges = np.arange(BINS + 1, dtype=np.float64)
    step = (amax / LEVELS)[:, None]
    inside = np.minimum(edges, amax[:, None])
    nearest = np.rint(inside / step)
    # Antiderivative of the squared rounding error: a whole step contributes step³/12.
    integral = nearest * step**3 / 12 + (inside - nearest * step) ** 3 / 3
    integral += np.maximum(edges - amax[:, None], 0.0) ** 3 / 3
    return np.asarray(np.diff(integral, axis=1) @ (counts / max(counts.sum(), 1)))
