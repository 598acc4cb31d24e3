"""Right answers against FP32's right answers on the same samples."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Change

Z95 = 1.959963984540054
Hits = dict[str, npt.NDArray[np.bool_]]


class Paired:
    """Counts, by metric, the samples that one of two models has right and the other has not."""

    def __init__(self) -> None:
        self._lost: dict[str, int] = {}
        self._won: dict[str, int] = {}
        self._total = 0

    def update(self, reference: Mapping[str, npt.NDArray[np.bool_]], own: Mapping[str, npt.NDArray[np.bool_]]) -> None:
        """One batch: by metric, whether each sample was answered rightly, (N,)."""
        for name, right in own.items():
            self._lost[name] = self._lost.get(name, 0) + int((reference[name] & ~right).sum())
            self._won[name] = self._won.get(name, 0) + int((right & ~reference[name]).sum())
        self._total += len(next(iter(own.values()), ()))

    def changes(self) -> dict[str, Change]:
        """By metric; empty without labels."""
        return {name: change(lost, self._won[name], self._total) for name, lost in self._lost.items() if self._total}


def change(lost: int, won: int, total: int) -> Change:
    """The drop's interval after Agresti and Min (2005), a Wald interval with half a sample added to every cell, and
    the exact McNemar test (1947) of ``lost`` against ``won``."""
    from scipy.stats import binomtest

    different, more = lost + won, total + 2
    center = (lost - won) / more
    error = Z95 * math.sqrt(max(different + 1 - (lost - won) ** 2 / more, 0.0)) / more
    drop = (lost - won) / total
    p_value = float(binomtest(lost, different).pvalue) if different else 1.0
    low, high = max(min(center - error, drop), -1.0), min(max(center + error, drop), 1.0)
    return Change(lost=lost, won=won, low=low, high=high, p_value=p_value)
