"""Collects the second moments of layers' inputs, from a few places of every sample, in bounded memory.

Inputs are rounded to whole numbers of a unit, so that sums are exact: any division of the samples gives the same. The
unit is max|x| of the first batch / 127, with as much room again for larger values, which are cut off there. 256 rows of
numbers up to 255 have products that float32 adds up without rounding, so a fast matrix product can do it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from quantkit.core.statistics.clamp import Clamp
from quantkit.core.statistics.histogram import SMALLEST_MAX
from quantkit.core.statistics.moments import Moments
from quantkit.graph.layer_rows import LayerRows

LEVELS_OF_MAXIMUM, LARGEST_LEVEL = 127, 255
ROWS = 256  # 256 · 255² < 2²⁴
ROWS_A_VALUE, FEWEST_ROWS = 8, 2048  # how many rows are wanted: for each value of a row, and at least
MEMORY = 128 << 20  # bytes of all products, and of the rows that wait to be multiplied
WIDEST = 1024  # values of a row whose products among one another are collected
NARROWEST = 16

Floats = npt.NDArray[np.float32]


class MomentsCollector:
    """The moments of the inputs of several layers. Threads may observe at the same time.

    Args:
        layers: What each layer reads; those with the same key are collected once.
        maxima: The max|x| of every tensor over the first batch. Tensors without one are left out.
        samples: The number of all samples, which decides how many rows each one gives.
        clamps: Tensors that are not observed themselves, but computed by clamping others.
    """

    def __init__(
        self,
        layers: Sequence[LayerRows],
        maxima: Mapping[str, float],
        samples: int,
        clamps: Sequence[Clamp] = (),
    ) -> None:
        self._clamps = {clamp.name: clamp for clamp in clamps}
        wanted = {layer.key: layer for layer in layers if maxima.get(layer.tensor, 0.0) >= SMALLEST_MAX}
        width = widest(list(wanted.values()))
        self.sites = {
            key: Site(layer, maxima[layer.tensor] / LEVELS_OF_MAXIMUM, samples, width)
            for key, layer in wanted.items()
            if width
        }

    def observe(self, tensors: Mapping[str, Floats], position: int) -> None:
        """Take rows of one run's activations.

        Args:
            tensors: The activations by tensor, without clamps.
            position: The number of the run's first sample.
        """
        for site in self.sites.values():
            name = site.layer.tensor
            clamp = self._clamps.get(name)
            values = tensors.get(name if clamp is None else clamp.source)
            if values is None or not values.size:
                continue
            rows = site.layer.taken(values, site.count, position)
            if rows is not None:
                site.add(rows if clamp is None else rows.clip(clamp.low, clamp.high))

    def collected(self) -> dict[str, Moments]:
        """Return the moments so far, without layers that gave no row; to be used before more is observed."""
        found = {key: site.moments() for key, site in self.sites.items()}
        return {key: moments for key, moments in found.items() if moments.rows}


def widest(layers: Sequence[LayerRows]) -> int:
    """Return how many values of a row may have products, so that all products fit into MEMORY; 0 if none may."""
    width = WIDEST
    while width >= NARROWEST:
        sizes = (parts * each * (8 * each + 2 * ROWS) for parts, each in (_parts(layer, width) for layer in layers))
        if sum(sizes) <= MEMORY:
            return width
        width //= 2
    return 0


def _parts(layer: LayerRows, width: int) -> tuple[int, int]:
    """Return the number of parts of a row and the values of each; see ``Moments``. Parts hold whole channels."""
    if layer.groups > 1:
        return layer.groups, layer.width
    places = math.prod(layer.kernel)
    channels = layer.width // places
    parts = math.ceil(layer.width / max(width, places))
    each = math.ceil(channels / parts)
    return math.ceil(channels / each), each * places


class Site:
    """The sums of one layer's input.

    Attributes:
        layer: What the layer reads.
        unit: What values are rounded to multiples of.
        count: The number of rows that a sample gives.
        parts: The number of parts of a row; see ``Moments``.
        each: The values of a part.
        products: Their products among one another, float64 (parts, each, each).
        sums: The values' sums, float64 (parts, each).
        rows: The number of rows in these.
    """

    def __init__(self, layer: LayerRows, unit: float, samples: int, width: int) -> None:
        self.layer, self.unit, self.rows = layer, unit, 0
        self.parts, self.each = _parts(layer, width)
        wanted = max(FEWEST_ROWS, ROWS_A_VALUE * self.each)
        self.count = min(max(1, math.ceil(wanted / max(samples, 1))), ROWS)
        self.products = np.zeros((self.parts, self.each, self.each))
        self.sums = np.zeros((self.parts, self.each))
        self._waiting = np.zeros((ROWS, self.parts * self.each), np.int16)
        self._filled = 0
        self._lock = threading.Lock()

    def add(self, rows: Floats) -> None:
        """Add rows, (count, D)."""
        if not np.isfinite(rows).all():  # masked tensors stay in floating point
            return
        whole = np.clip(np.rint(rows / np.float32(self.unit)), -LARGEST_LEVEL, LARGEST_LEVEL)
        with self._lock:
            if self._filled + len(whole) > ROWS:
                self._settle()
            self._waiting[self._filled : self._filled + len(whole), : whole.shape[1]] = whole
            self._filled += len(whole)

    def moments(self) -> Moments:
        """Return the sums so far, in the memory that further rows are added to."""
        with self._lock:
            self._settle()
            return Moments(self.products, self.sums, self.rows, self.unit)

    def _settle(self) -> None:
        if self._filled:
            waiting = self._waiting[: self._filled].astype(np.float32)
            rows = waiting.reshape(self._filled, self.parts, -1).transpose(1, 0, 2)
            self.products += np.matmul(rows.transpose(0, 2, 1), rows)
            self.sums += rows.sum(axis=1, dtype=np.float64)
        self.rows += self._filled
        self._filled = 0
