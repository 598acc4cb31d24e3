"""Moving average: the ends are averages of all images' extremes, so that one odd image does not decide the range.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference" (2018),
https://arxiv.org/abs/1712.05877, section 3.1; PyTorch's MovingAverageMinMaxObserver (averaging constant 0.01),
https://docs.pytorch.org/docs/stable/generated/torch.ao.quantization.observer.MovingAverageMinMaxObserver.html.
"""

from __future__ import annotations

from quantkit.calibrators.minmax import minmax
from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.histogram import Histogram


def moving_average(histogram: Histogram) -> TensorRange:
    """Return the range between the moving averages of the images' minima and maxima.

    The range never exceeds the values seen. It is :func:`minmax` in two cases: the histogram has no averages because it
    was not counted image by image, or both averages are less than one bin from zero. Then the tensor is zero for nearly
    every image, and such a narrow range would clip everything else.
    """
    moving = histogram.moving
    if moving.weight == 0:
        return minmax(histogram)
    low, high = max(moving.minimum, histogram.minimum), min(moving.maximum, histogram.maximum)
    if max(-low, high) < histogram.width:
        return minmax(histogram)
    return TensorRange.asymmetric(low, high)
