"""What is counted on the GPU is what is counted on the CPU, to the bin, of the same values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from quantkit.calibrators.collect import Collector, NotFinite, first_widths
from quantkit.calibrators.count_on_gpu import GpuCollector
from quantkit.calibrators.moments import MomentsCollector
from quantkit.calibrators.moments_on_gpu import GpuMoments
from quantkit.core.cuda import Buffer, Kernels, OnGpu
from quantkit.core.statistics.clamp import Clamp
from quantkit.core.statistics.collected import Collected
from quantkit.graph.layer_rows import LayerRows

Values = npt.NDArray[np.float32]
RNG = np.random.default_rng(4)
SHAPES = [(6, 5, 9, 7), (6, 70, 3, 3), (6, 4, 130, 130), (6, 11), (6, 13, 96), (6, 2, 5, 5, 4), (6,), (6, 1, 1, 1)]
RELU = Clamp("relu", "x", 0.0, math.inf)
RELU6 = Clamp("relu6", "x", 0.0, 6.0)


def on_gpu(values: Values) -> tuple[OnGpu, Buffer]:
    buffer = Buffer(values.nbytes)
    buffer.upload(np.ascontiguousarray(values))
    return OnGpu(buffer.address, values.shape), buffer


def counted_here(runs: list[Values], widths: dict[str, float], axes: dict[str, int], clamps: list[Clamp]) -> Collected:
    samples = sum(map(len, runs))
    collector = Collector(widths, samples, axes, clamps)
    position = 0
    for run in runs:
        for row in run:
            collector.observe({"x": row[None]}, position)
            position += 1
    return collector.collected()


def counted_there(
    kernels: Kernels, runs: list[Values], widths: dict[str, float], axes: dict[str, int], clamps: list[Clamp]
) -> Collected:
    samples = sum(map(len, runs))
    collector = GpuCollector(kernels, widths, samples, axes, clamps, (), lambda name: False)
    position = 0
    for run in runs:
        tensor, _buffer = on_gpu(run)
        collector.observe({"x": tensor}, range(position, position + len(run)), len(run))
        position += len(run)
    return collector.collected()


def assert_same(one: Collected, other: Collected) -> None:
    assert one.histograms == other.histograms
    assert one.extents == other.extents
    for name, here in one.channels.items():
        there = other.channels[name]
        np.testing.assert_array_equal(here.minimum, there.minimum)
        np.testing.assert_array_equal(here.maximum, there.maximum)
        assert (here.unit, here.samples) == (there.unit, there.samples)
        # The CPU adds some of the values in float32. The unit is 2⁻²⁰ of a bin.
        np.testing.assert_allclose(here.total, there.total, rtol=1e-6, atol=2**10)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("clamps", [[], [RELU, RELU6]], ids=["plain", "clamped"])
def test_counts_are_the_same_to_the_bin(kernels: Kernels, shape: tuple[int, ...], clamps: list[Clamp]) -> None:
    """Also where later values are so large that bins are widened twice, and for values of every size."""
    runs = [RNG.normal(size=shape).astype(np.float32) * scale for scale in (1, 3.7, 0.01)]
    runs[1].reshape(-1)[::7] = 0
    first = {"x": float(np.abs(runs[0]).max()), "relu": float(runs[0].max()), "relu6": float(min(runs[0].max(), 6))}
    widths = first_widths({name: max(own, 1e-3) for name, own in first.items()})
    assert_same(counted_here(runs, widths, {}, clamps), counted_there(kernels, runs, widths, {}, clamps))


def test_another_channel_axis_is_followed(kernels: Kernels) -> None:
    runs = [RNG.normal(size=(4, 10, 6)).astype(np.float32)]
    widths = first_widths({"x": 4.0})
    assert_same(counted_here(runs, widths, {"x": 1}, []), counted_there(kernels, runs, widths, {"x": 1}, []))


def test_channels_that_change_are_given_up(kernels: Kernels) -> None:
    runs = [RNG.normal(size=(2, 5, size)).astype(np.float32) for size in (8, 12)]
    widths = first_widths({"x": 4.0})
    found = counted_there(kernels, runs, widths, {}, [])
    assert found.histograms == counted_here(runs, widths, {}, []).histograms
    assert found.channels["x"].total.shape == (0,)


def test_a_tensor_without_rows_is_the_first_samples(kernels: Kernels) -> None:
    values = RNG.normal(size=(3, 7)).astype(np.float32)
    collector = GpuCollector(kernels, first_widths({"x": 4.0}), 2, {}, [], (), lambda name: False)
    tensor, _buffer = on_gpu(values)
    collector.observe({"x": tensor}, [0, 1], 2)
    assert collector.collected().histograms["x"].total == values.size
    assert collector.collected().channels["x"].samples == 1


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_errors_that_name_the_row(kernels: Kernels, value: float) -> None:
    run = RNG.normal(size=(4, 3, 5, 5)).astype(np.float32)
    run[2, 1, 4, 4] = value
    tensor, _buffer = on_gpu(run)
    collector = GpuCollector(kernels, first_widths({"x": 4.0}), 4, {}, [], (), lambda name: False)
    with pytest.raises(NotFinite) as found:
        collector.observe({"x": tensor}, range(4), 4)
    assert (found.value.tensor, found.value.row) == ("x", 2)
    assert math.isnan(found.value.value) == math.isnan(value)


def test_masks_and_excluded_tensors_are_left_out(kernels: Kernels) -> None:
    run = RNG.normal(size=(4, 3, 5, 5)).astype(np.float32)
    run[1, 0] = -np.inf
    tensor, _buffer = on_gpu(run)
    for excluded in (False, True):
        collector = GpuCollector(kernels, first_widths({"x": 4.0}), 4, {}, [], (), lambda name, e=excluded: e)
        collector.observe({"x": tensor}, range(4), 4)
        assert (collector.masked, collector.not_finite) == ((set(), {"x"}) if excluded else ({"x"}, set()))
        assert not collector.collected().histograms


LAYERS = [
    LayerRows("x", (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1, 45),
    LayerRows("x", (1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 1, 5),
    LayerRows("x", (3, 3), (1, 1), (2, 2, 2, 2), (2, 2), 5, 9),
    LayerRows("x", width=16),
]


@pytest.mark.parametrize("layer", LAYERS, ids=["conv", "pointwise", "depthwise", "matrix"])
@pytest.mark.parametrize("clamp", [None, RELU], ids=["plain", "clamped"])
def test_moments_are_exact(kernels: Kernels, layer: LayerRows, clamp: Clamp | None) -> None:
    """Sums of whole numbers are the same in any order."""
    layer = layer if clamp is None else LayerRows(**{**vars(layer), "tensor": "relu"})
    runs = [RNG.normal(size=(6, 5, 12, 16)).astype(np.float32) for _ in range(9)]
    clamps = [clamp] if clamp else []
    maxima = {"x": 3.0, "relu": 3.0}
    here, there = (MomentsCollector([layer], maxima, 54, clamps) for _ in range(2))
    gpu = GpuMoments(kernels, there, clamps)
    for number, run in enumerate(runs):
        tensor, _buffer = on_gpu(run)
        gpu.observe({"x": tensor}, 6 * number, 6, ())
        here.sites[layer.key].add(taken(layer, run, 6 * here.sites[layer.key].count, 6 * number, clamp)[:256])
    (found,), (expected,) = gpu.collected().values(), here.collected().values()
    assert found.rows == expected.rows
    np.testing.assert_array_equal(found.products, expected.products)
    np.testing.assert_array_equal(found.sums, expected.sums)


def taken(layer: LayerRows, run: Values, count: int, turn: int, clamp: Clamp | None) -> Any:
    rows = layer.taken(run, count, turn)
    assert rows is not None
    return rows if clamp is None else rows.clip(clamp.low, clamp.high)
