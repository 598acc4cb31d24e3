"""What makes a quantized model more accurate than its ranges alone, at no time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from quantkit.core.statistics.moments import Moments


@dataclass(frozen=True)
class Refinements:
    """What every dialect does to weights, biases and channels.

    Attributes:
        moments: The second moments of layers' inputs, to round weights by least squares; without them, weights are
            rounded to nearest.
        biases: What is subtracted from the biases of quantized layers, (C,), by the layer's output before any
            activation function, in the units of the user's model.
        equalize_sums: True to equalize the channels of sums of Convs, too, whose values nothing bounds.
    """

    moments: Mapping[str, Moments] = field(default_factory=dict)
    biases: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    equalize_sums: bool = False


NO_REFINEMENTS = Refinements()
