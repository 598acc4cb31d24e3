"""Collects the second moments of layers' inputs on the GPU, as ``moments`` does on the CPU, from as many rows."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from quantkit.calibrators.count_on_gpu import THREADS
from quantkit.calibrators.moments import LARGEST_LEVEL, ROWS, MomentsCollector, Site
from quantkit.core.cuda import ADDRESS, FLOAT, INT, LONG, Buffer, Kernels, OnGpu
from quantkit.core.statistics.clamp import Clamp
from quantkit.core.statistics.moments import Moments

TILE, THREADS_A_SIDE = 64, 16  # as in the kernel


class GpuMoments:
    """The moments of the inputs of several layers.

    Args:
        kernels: The kernels of ``count_on_gpu.SOURCE``.
        moments: What is wanted; nothing else is collected there.
        clamps: Tensors that are not observed themselves, but computed by clamping others.
    """

    def __init__(self, kernels: Kernels, moments: MomentsCollector, clamps: Sequence[Clamp]) -> None:
        self._clamps = {clamp.name: clamp for clamp in clamps}
        self._sites = {key: _OnGpu(kernels, site) for key, site in moments.sites.items()}

    def observe(self, tensors: Mapping[str, OnGpu], position: int, rows: int, left_out: Collection[str]) -> None:
        """Take rows of one run's activations.

        Args:
            tensors: The activations by tensor, without clamps.
            position: The number of the run's first sample.
            rows: The number of samples in the run.
            left_out: Tensors that hold NaN or Inf.
        """
        for own in self._sites.values():
            name = own.site.layer.tensor
            clamp = self._clamps.get(name)
            source = name if clamp is None else clamp.source
            values = tensors.get(source)
            if values is not None and source not in left_out and 0 not in values.shape:
                own.add(values, rows * own.site.count, position, clamp)

    def collected(self) -> dict[str, Moments]:
        """Return the moments so far, without layers that gave no row."""
        found = {key: own.moments() for key, own in self._sites.items()}
        return {key: moments for key, moments in found.items() if moments.rows}


class _OnGpu:
    """The sums of one layer's input."""

    def __init__(self, kernels: Kernels, site: Site) -> None:
        self.site, self._kernels = site, kernels
        self._width = site.parts * site.each
        self._products, self._sums = Buffer(site.products.nbytes), Buffer(site.sums.nbytes)
        self._waiting, self._under, self._base = Buffer(4 * ROWS * self._width), Buffer(0), Buffer(8 * ROWS)
        self._filled = 0

    def add(self, values: OnGpu, count: int, turn: int, clamp: Clamp | None) -> None:
        """Add rows of one run."""
        places = self.site.layer.places(values.shape, count, turn)
        if places is None:
            return
        kernel = places.under.shape[1]
        if self._under.size < 4 * ROWS * kernel:
            self._under = Buffer(4 * ROWS * kernel)
        low, high = (-math.inf, math.inf) if clamp is None else (clamp.low, clamp.high)
        width = self.site.layer.width * self.site.layer.groups
        for start in range(0, len(places.base), ROWS):
            base, under = places.base[start : start + ROWS], places.under[start : start + ROWS]
            if self._filled + len(base) > ROWS:
                self._settle()
            self._base.upload(np.ascontiguousarray(base))
            self._under.upload(np.ascontiguousarray(under))
            out = self._waiting.address + 4 * self._filled * self._width
            self._kernels.launch(
                "take_rows",
                (math.ceil(len(base) * width / THREADS),),
                (THREADS,),
                (values.address, self._base.address, self._under.address, len(base), width, kernel, places.step,
                 low, high, float(np.float32(self.site.unit)), float(LARGEST_LEVEL), out, self._width),
                (ADDRESS, ADDRESS, ADDRESS, INT, INT, INT, LONG, FLOAT, FLOAT, FLOAT, FLOAT, ADDRESS, INT),
            )  # fmt: skip
            self._filled += len(base)

    def moments(self) -> Moments:
        """Return the sums so far."""
        self._settle()
        shape = self.site.products.shape
        products = self._products.download(np.float64, math.prod(shape)).reshape(shape)
        sums = self._sums.download(np.float64, self._width).reshape(shape[:2])
        return Moments(products, sums, self.site.rows, self.site.unit)

    def _settle(self) -> None:
        if not self._filled:
            return
        tiles = math.ceil(self.site.each / TILE)
        self._kernels.launch(
            "add_products",
            (tiles, tiles, self.site.parts),
            (THREADS_A_SIDE, THREADS_A_SIDE),
            (self._waiting.address, self._filled, self.site.parts, self.site.each, self._products.address,
             self._sums.address),
            (ADDRESS, INT, INT, INT, ADDRESS, ADDRESS),
        )  # fmt: skip
        self.site.rows += self._filled
        self._filled = 0
