"""Energies of signal and noise, and their ratio in decibels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

NOISE_DB = 3.0  # outputs with a lower SQNR have little in common with FP32's
FAR_DB = 15.0  # and with a lower one than this, they rarely serve as FP32's do
NOT_FINITE_DB = -300.0  # the SQNR of an output that contains NaN or Inf, or noise where FP32 is zero


def energy(values: npt.NDArray[Any]) -> float:
    """Return Σ x² of an array of any shape, summed in float64 without making a float64 copy."""
    flat = values.reshape(-1)
    return float(np.einsum("i,i->", flat, flat, dtype=np.float64, casting="same_kind"))


def noise_energy(reference: npt.NDArray[Any], own: npt.NDArray[Any]) -> float:
    """Return Σ (ref - x)² of two arrays of the same shape; equal infinite values differ by nothing."""
    with np.errstate(invalid="ignore", over="ignore"):  # Inf - Inf: decibels() handles a sum that is not finite
        difference = np.subtract(reference, own, dtype=np.result_type(reference, own, np.float32))
        found = energy(difference)
        return found if np.isfinite(found) else energy(np.where(reference == own, 0, difference))


def decibels(signal: float, noise: float) -> float | None:
    """Return 10·log10(Σ ref² / Σ (ref - x)²); None without any noise, ``NOT_FINITE_DB`` if it is not finite."""
    if noise == 0:
        return None
    if not (np.isfinite(noise) and np.isfinite(signal) and signal > 0):
        return NOT_FINITE_DB
    return max(float(10 * np.log10(signal / noise)), NOT_FINITE_DB)
