"""How close a model's outputs are to FP32's: the SQNR of each output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from quantkit.measure.noise import decibels, energy, noise_energy


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
