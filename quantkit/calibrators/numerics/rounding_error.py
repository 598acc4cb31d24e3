"""The mean squared error of rounding to a uniform grid, from a histogram with values assumed uniform inside each bin.

The error is integrated exactly over each bin, so the result is accurate even if steps are as narrow as bins.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantkit.core.statistics.histogram import Counts

Floats = npt.NDArray[np.float64]
Number = float | Floats


class RoundingError:
    """E[(x - rounded x)²] of any number of grids, in squared bin widths.

    With G(t) = E[max(t - x, 0)], the density integrated twice, summation by parts gives
    E[(x - top)²] - 2 * step * Σ G(c) over the cell boundaries c of the grid, where top is its last point. So a grid
    costs as much as its 127 or 255 boundaries instead of every bin. G is quadratic inside a bin. The subtraction loses
    six to eight of float64's sixteen digits.

    Args:
        counts: int64 of shape (n,).
        first: The first edge, in bin widths.
    """

    def __init__(self, counts: Counts, first: float = 0.0) -> None:
        total = counts.sum()
        self._first = first
        density = counts / total
        self._half_density = np.append(density, 0.0) / 2
        self._below = np.concatenate(([0], counts.cumsum())) / total
        self._twice = np.concatenate(([0.0], (self._below[:-1] + self._half_density[:-1]).cumsum()))
        centre = first + 0.5 + np.arange(len(counts))
        self._mean = float(density @ centre)
        self._square = float(density @ centre**2) + 1 / 12

    def __call__(self, step: Number, zero_point: Number, points: int) -> Floats:
        """Return the error of each grid step * (k - zero_point), k = 0..points - 1, which clips values beyond its ends.

        Args:
            step: The grid's step, in bin widths; float64 of any shape.
            zero_point: The zero-point; float64 of a shape that broadcasts with ``step``.
            points: The number of points of the grid.

        Returns:
            float64 of the broadcast shape.
        """
        boundary = (np.arange(0.5, points - 1) - _column(zero_point)) * _column(step)
        return self._error(step, (points - 1 - zero_point) * step, self._integrated(boundary).sum(axis=-1))

    def of_zero_points(self, step: Number, points: int, least: int, most: int) -> Floats:
        """Return the error for every integer zero-point, looking up each cell boundary of a step once.

        Args:
            step: The grids' steps, in bin widths.
            points: The number of points of each grid.
            least: The smallest zero-point.
            most: The largest zero-point.

        Returns:
            float64 of the shape of ``step`` with one more axis for the zero-points.
        """
        step = _column(step)
        below = self._integrated(np.arange(0.5 - most, points - 1 - least) * step).cumsum(axis=-1)
        integrated = below[..., points - 2 :].copy()
        integrated[..., 1:] -= below[..., : most - least]
        return self._error(step, (points - 1 - np.arange(most, least - 1, -1)) * step, integrated)[..., ::-1]

    def _integrated(self, boundary: Floats) -> Floats:
        """Return G at each ``boundary`` (in bin widths). The argument is overwritten."""
        boundary -= self._first
        np.maximum(boundary, 0.0, out=boundary)
        index = boundary.astype(np.intp)
        np.minimum(index, len(self._half_density) - 1, out=index)
        boundary -= index
        integrated: Floats = self._half_density.take(index)
        integrated *= boundary
        integrated += self._below.take(index)
        integrated *= boundary
        integrated += self._twice.take(index)
        return integrated

    def _error(self, step: Number, top: Number, integrated: Floats) -> Floats:
        error: Floats = self._square + top * (top - 2 * self._mean) - 2 * step * integrated
        return error


def _column(number: Number) -> Floats:
    return np.asarray(number)[..., None]
