"""The limits that NNCF must give an activation's FakeQuantize, written out from its rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantkit.core.ranges import STEPS, TensorRange
from quantkit.targets.openvino.nncf.adapter import union

NARROWEST = 8e-4  # an asymmetric range below this is widened by as much on each side
LEAST_AMAX = 8e-5  # the amax of a symmetric range is at least this


@dataclass(frozen=True)
class Limits:
    """The float32 limits of a FakeQuantize of 256 levels.

    Attributes:
        low: ``input_low`` and ``output_low``.
        high: ``input_high`` and ``output_high``.
    """

    low: float
    high: float


def limits_of(ranges: Sequence[TensorRange], symmetric: bool) -> Limits:
    """Return the limits for tensors that share one quantizer.

    Symmetric (s8): high = amax and low = -high · 128/127, so that zero is level 128; tensors that are never negative
    get low = 0 (u8). Asymmetric (u8): low and high as calibrated, with one of them moved outwards until zero is a
    level. Both stay only if zero is nearest to the first or last level, which is one of the ends. These are NNCF's
    rules, in its float32; OpenVINO's INT8 kernels require a level at zero:
    https://docs.openvino.ai/2026/documentation/openvino-ir-format/operation-sets/operation-specs/quantization/fake-quantize-1.html

    Args:
        ranges: The ranges of the tensors.
        symmetric: True for the symmetric scheme.
    """
    low, high = map(np.float32, union(ranges, symmetric))
    if symmetric:
        high = max(high, np.float32(LEAST_AMAX))
        return Limits(float(-high * np.float32(128 / 127)) if low < 0 else 0.0, float(high))
    if high - low <= NARROWEST:
        low, high = low - np.float32(NARROWEST), high + np.float32(NARROWEST)
    return _with_zero(low, high)


def _with_zero(low: np.float32, high: np.float32) -> Limits:
    """Move one end outwards so that zero is one of the 256 levels and no calibrated value is cut off."""
    zero = float(np.round(-low * (np.float32(STEPS) / (high - low))))
    if zero in (0, STEPS):
        return Limits(float(low), float(high))
    lower = zero / (zero - STEPS) * float(high)
    higher = (zero - STEPS) / zero * float(low)
    if float(high) - lower > higher - float(low):
        low = np.float32(lower)
    else:
        high = np.float32(higher)
    return Limits(float(low), float(high))
