"""Signal to quantization noise ratio (SQNR), from sums that grow batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

NOT_FINITE_DB = -300.0  # stands for the SQNR of an output with NaN or Inf in it, or with noise where FP32 is zero


def energy(values: npt.NDArray[Any]) -> float:
    """Σ x² of an array of any shape, summed in float64, without a float64 copy of it."""
    flat = values.reshape(-1)
    return float(np.einsum("i,i->", flat, flat, dtype=np.float64, casting="same_kind"))


def noise_energy(reference: npt.NDArray[Any], own: npt.NDArray[Any]) -> float:
    """Σ (ref - x)² of two arrays of one shape."""
    with np.errstate(invalid="ignore", over="ignore"):  # Inf - Inf: the sum is not finite, and is told so
        return energy(np.subtract(reference, own, dtype=np.result_type(reference, own, np.float32)))


def decibels(signal: float, noise: float) -> float | None:
    """10·log10(Σ ref² / Σ (ref - x)²); None when there is no noise at all, ``NOT_FINITE_DB`` for what is no number."""
    if noise == 0:
        return None
    if not (np.isfinite(noise) and np.isfinite(signal) and signal > 0):
        return NOT_FINITE_DB
    return max(float(10 * np.log10(signal / noise)), NOT_FINITE_DB)
