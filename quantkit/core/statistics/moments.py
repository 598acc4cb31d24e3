"""Second moments of what layers multiply with their weights, for rounding these by least squares."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from quantkit.core.by_value import ByValue

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Moments(ByValue):
    """Sums over rows of inputs, each rounded to a whole number of ``unit``; merging is exact.

    A row is what one output value is computed from: the D values under a kernel, or of a token. Where D is large, or
    where a Conv has groups, it falls into B parts of d values, whose products among one another are not known.

    Attributes:
        products: Σ x·xᵀ, (B, d, d): whole numbers below 2⁵³ in units of ``unit``², in float64; or these in
            float32, which is enough to round by, but not to merge.
        sums: Σ x, (B, d), in units of ``unit``.
        rows: The number of rows.
        unit: The input's units for each whole number.
    """

    products: Floats
    sums: Floats
    rows: int
    unit: float

    def merged(self, other: Moments) -> Moments:
        """Add the rows of another set of samples. Raises ValueError if units or shapes differ, or not all is exact."""
        kinds = {(m.unit, m.products.shape, m.products.dtype) for m in (self, other)}
        if kinds != {(self.unit, self.products.shape, np.dtype(np.float64))}:
            raise ValueError("cannot merge moments of different units or shapes")
        return replace(
            self,
            products=self.products + other.products,
            sums=self.sums + other.sums,
            rows=self.rows + other.rows,
        )

    def stored(self) -> Moments:
        """Return the same in float32, in which a calibration keeps them."""
        return replace(self, products=self.products.astype(np.float32), sums=self.sums.astype(np.float32))

    @property
    def covariance(self) -> npt.NDArray[np.float64]:
        """The covariance of a row, (B, d, d) float64, in the input's units squared."""
        means = self.sums.astype(np.float64) / max(self.rows, 1)
        found: npt.NDArray[np.float64] = self.products.astype(np.float64) / max(self.rows, 1)
        found -= means[:, :, None] * means[:, None, :]
        found *= self.unit**2
        return found
