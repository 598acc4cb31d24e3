"""The limits of an activation's FakeQuantize, from a calibrated range and the device's rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantkit.core.ranges import TensorRange

LEVELS = 256  # of activations; INT8 kernels take no other number
STEPS = LEVELS - 1
NARROWEST = 8e-4  # an asymmetric range below this is widened by as much on each side
LEAST_AMAX = 8e-5  # a symmetric one is at least this


@dataclass(frozen=True)
class Limits:
    """``input_low``, which is also ``output_low``, and ``input_high`` of a FakeQuantize of 256 levels, in float32."""

    low: float
    high: float


def limits_of(ranges: Sequence[TensorRange], symmetric: bool) -> Limits:
    """The limits for tensors of these ranges, which share one quantizer.

    Symmetric (s8): high = amax and low = -high · 128/127, so that zero is level 128; tensors that are never negative
    get low = 0 (u8). Asymmetric (u8): low and high as calibrated, one of them moved out until zero is a level. These
    are NNCF's rules; OpenVINO's INT8 kernels ask for a level at zero:
    https://docs.openvino.ai/2026/documentation/openvino-ir-format/operation-sets/operation-specs/quantization/fake-quantize-1.html
    """
    low, high = union(ranges, symmetric)
    if symmetric:
        high = max(high, LEAST_AMAX)
        return Limits(float(np.float32(-high * 128 / 127 if low < 0 else 0.0)), float(np.float32(high)))
    if high - low <= NARROWEST:
        low, high = low - NARROWEST, high + NARROWEST
    return _with_zero(low, high)


def union(ranges: Sequence[TensorRange], symmetric: bool) -> tuple[float, float]:
    """What all the tensors may span together: [-amax, amax] or [0, amax] when symmetric, else [low, high]."""
    if symmetric:
        amax = max(r.amax for r in ranges)
        return (-amax if any(r.low < 0 for r in ranges) else 0.0), amax
    return min(r.low for r in ranges), max(r.high for r in ranges)


def _with_zero(low: float, high: float) -> Limits:
    """Move one end outwards so that zero falls on one of the 256 levels: nothing calibrated is cut off."""
    zero = round(-low * STEPS / (high - low))
    if zero in (0, STEPS):  # one-sided: zero is an end already
        return Limits(float(np.float32(min(low, 0.0) if zero else 0.0)), float(np.float32(high if not zero else 0.0)))
    lower = zero / (zero - STEPS) * high
    higher = (zero - STEPS) / zero * low
    # One of the two lies outside of what was calibrated and one inside; the one outside cuts nothing off.
    if high - lower > higher - low:
        return Limits(float(np.float32(lower)), float(np.float32(high)))
    return Limits(float(np.float32(low)), float(np.float32(higher)))
