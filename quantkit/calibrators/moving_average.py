"""Moving average: the ends are averages of every image's extremes, so that one odd image does not set the range.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018),
https://arxiv.org/abs/1712.05877, section 3.1; PyTorch's MovingAverageMinMaxObserver (averaging constant 0.01),
https://docs.pytorch.org/docs/stable/generated/torch.ao.quantization.observer.MovingAverageMinMaxObserver.html.
"""

from __future__ import annotations

from quantkit.calibrators.minmax import minmax
from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.histogram import Histogram


def moving_average(histogram: Histogram) -> TensorRange:
    """The asymmetric range between the moving averages of the images' minima and maxima.

    Never wider than what was seen. It is :func:`minmax` for a histogram without averages (one not counted image by
    image), and where both averages are less than one bin from zero: such a tensor is zero for nearly every image, and a
    range that narrow would clip all that it ever holds.
    """
    moving = histogram.moving
    if moving.weight == 0:
        return minmax(histogram)
    low, high = max(moving.minimum, histogram.minimum), min(moving.maximum, histogram.maximum)
    if max(-low, high) < histogram.width:
        return minmax(histogram)
    return TensorRange.asymmetric(low, high)
