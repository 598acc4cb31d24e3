"""Signal to quantization noise ratio (SQNR), from sums over batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

NOT_FINITE_DB = -300.0  # the SQNR of an output that contains NaN or Inf, or noise where FP32 is zero


def energy(values: npt.NDArray[Any]) -> float:
    """Return Σ x² of an array of any shape, summed in float64 without making a float64 copy."""
    flat = values.reshape(-1)
    return float(np.einsum("i,i->", flat, flat, dtype=np.float64, casting="same_kind"))


def noise_energy(reference: npt.NDArray[Any], own: npt.NDArray[Any]) -> float:
    """Return Σ (ref - x)² of two arrays of the same shape."""
    with np.errstate(invalid="ignore", over="ignore"):  # Inf - Inf: decibels() handles a sum that is not finite
        return energy(np.subtract(reference, own, dtype=np.result_type(reference, own, np.float32)))


def decibels(signal: float, noise: float) -> float | None:
    """Return 10·log10(Σ ref² / Σ (ref - x)²); None without any noise, ``NOT_FINITE_DB`` if it is not finite."""
    if noise == 0:
        return None
    if not (np.isfinite(noise) and np.isfinite(signal) and signal > 0):
        return NOT_FINITE_DB
    return max(float(10 * np.log10(signal / noise)), NOT_FINITE_DB)


class OutputNoise:
    """Signal and noise energy of each output, summed over batches."""

    def __init__(self) -> None:
        self._signal: dict[str, float] = {}
        self._noise: dict[str, float] = {}

    def update(self, reference: Mapping[str, npt.NDArray[Any]], outputs: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add one batch of outputs by name; both have the same names and shapes."""
        for name, expected in reference.items():
            self._signal[name] = self._signal.get(name, 0.0) + energy(expected)
            self._noise[name] = self._noise.get(name, 0.0) + noise_energy(expected, outputs[name])

    @property
    def sqnr_db(self) -> float | None:
        """10·log10(Σ ref² / Σ (ref - x)²) of the worst output; None if all are bit-exact."""
        each = [decibels(self._signal[name], noise) for name, noise in self._noise.items()]
        return min((value for value in each if value is not None), default=None)
