"""Signal to quantization noise ratio (SQNR), from sums over batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import OutputError
from quantkit.core.decibels import decibels, energy, noise_energy


@dataclass(frozen=True)
class Parts:
    """The parts of an output.

    Attributes:
        names: The name of each part.
        labels: The number of the part that each value of a sample belongs to, in the sample's shape.
    """

    names: Sequence[str]
    labels: npt.NDArray[np.int16]

    def sums(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the sum of the values of samples in each part."""
        each = values.reshape(len(values), -1).sum(axis=0, dtype=np.float64)
        return np.bincount(self.labels.reshape(-1), each, len(self.names)).astype(np.float64)


@dataclass
class _Sums:
    """Signal and noise energy of one output, and of its parts, so far."""

    signal: float = 0.0
    noise: float = 0.0
    own: float = 0.0
    largest: float = 0.0
    values: int = 0
    equal: int = 0
    left_out: int = 0
    whole: bool = False  # True for integers and booleans, which are equal or not
    parts: Parts | None = None
    of_parts: npt.NDArray[np.float64] | None = None  # signal and noise, (2, parts)

    def update(self, expected: npt.NDArray[Any], own: npt.NDArray[Any]) -> None:
        if expected.shape != own.shape:
            self.left_out += len(expected)
            return
        self.values += expected.size
        if expected.dtype.kind != "f":
            self.whole = True
            self.equal += int((expected == own).sum())
            return
        signal = energy(expected)
        self.signal += signal if np.isfinite(signal) else energy(np.where(np.isfinite(expected), expected, 0))
        self.noise += noise_energy(expected, own)
        self.own += energy(own)
        with np.errstate(invalid="ignore", over="ignore"):
            self.largest = float(np.maximum(self.largest, np.abs(expected - own).max(initial=0.0)))
        if self.parts is not None and expected.shape[1:] == self.parts.labels.shape:
            with np.errstate(invalid="ignore", over="ignore"):
                wide = expected.astype(np.float64)
                difference = np.where(expected == own, 0.0, wide - own)
                sums = np.stack([self.parts.sums(wide**2), self.parts.sums(difference**2)])
            self.of_parts = sums if self.of_parts is None else self.of_parts + sums

    def errors(self, output: str) -> list[OutputError]:
        """Return the error of the output, followed by those of its parts."""
        if not self.values:
            return [OutputError(output=output, measured=False, left_out=self.left_out)]
        if self.whole:
            return [OutputError(output=output, equal=self.equal / self.values, left_out=self.left_out)]
        found = [
            OutputError(
                output=output,
                sqnr_db=decibels(self.signal, self.noise),
                left_out=self.left_out,
                cosine=self._cosine(),
                largest_difference=self.largest if np.isfinite(self.largest) else None,
            )
        ]
        if self.parts is not None and self.of_parts is not None:
            found += [
                OutputError(output=output, part=name, sqnr_db=decibels(float(signal), float(noise)))
                for name, signal, noise in zip(self.parts.names, *self.of_parts, strict=True)
                if signal or noise
            ]
        return found

    def _cosine(self) -> float | None:
        """Return Σ ab / √(Σ a² Σ b²), from Σ (a - b)²; None if it is not finite, or one is zero."""
        size = (self.signal * self.own) ** 0.5
        found = (self.signal + self.own - self.noise) / (2 * size) if size > 0 else np.nan
        return float(np.clip(found, -1, 1)) if np.isfinite(found) else None


class OutputNoise:
    """Signal and noise energy of each output, summed over batches.

    Integers and booleans have no SQNR, but a share of equal values. Samples whose output has another size than FP32's,
    as after NonMaxSuppression, are left out and counted.

    Args:
        parts: The parts of outputs, by name.
    """

    def __init__(self, parts: Mapping[str, Parts] | None = None) -> None:
        self._parts = parts or {}
        self._sums: dict[str, _Sums] = {}

    def update(self, reference: Mapping[str, npt.NDArray[Any]], outputs: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add one batch of outputs by name, with samples along the first axis; a missing output is not measured."""
        for name, expected in reference.items():
            sums = self._sums.setdefault(name, _Sums(parts=self._parts.get(name)))
            if name in outputs:
                sums.update(expected, outputs[name])

    def errors(self) -> tuple[OutputError, ...]:
        """Return the errors of all outputs and their parts, in the model's order."""
        return tuple(error for name, sums in self._sums.items() for error in sums.errors(name))

    @property
    def sqnr_db(self) -> float | None:
        """10·log10(Σ ref² / Σ (ref - x)²) of the worst output; None if all are bit-exact."""
        each = [error.sqnr_db for error in self.errors() if not error.part]
        return min((value for value in each if value is not None), default=None)
