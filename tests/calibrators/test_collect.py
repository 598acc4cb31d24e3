from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantkit.calibrators import count as counting
from quantkit.calibrators.collect import Collector, NotFinite, first_widths, note_maxima
from quantkit.calibrators.count import CHUNK, Counter, count
from quantkit.core.statistics.clamp import Clamp
from quantkit.core.statistics.collected import Collected
from quantkit.core.statistics.files import load_collected, save_collected
from quantkit.core.statistics.histogram import BINS
from tests.calibrators.counting import collected, histogram_of

WHOLE = (-np.inf, np.inf)  # cut off nowhere
RNG = np.random.default_rng(7)


@pytest.fixture(params=["compiled", "numpy"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "numpy":
        monkeypatch.setattr(counting, "kernel", None)
    elif counting.kernel is None:
        pytest.skip("built without a compiler")
    yield request.param


def test_the_kernel_was_compiled_here() -> None:
    assert counting.kernel is not None


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("size", [2, 100_000])
def test_values_that_are_not_finite_are_refused_and_named(kernel: str, bad: float, size: int) -> None:
    values = np.ones(size, np.float32)
    values[-1] = bad
    with pytest.raises(NotFinite) as error:
        Collector({"x": 1 / BINS}).observe({"x": values})
    assert error.value.tensor == "x"
    assert np.array_equal(error.value.value, bad, equal_nan=True)
    with pytest.raises(NotFinite):
        note_maxima({}, {"y": values})


@pytest.mark.parametrize("size", [2, 100_000])
def test_a_tensor_with_minus_infinity_is_left_out_and_those_behind_it_are_counted(kernel: str, size: int) -> None:
    """A mask adds -Inf; what clamps the masked tensor is finite again."""
    values = np.ones(size, np.float32)
    masked = values.copy()
    masked[-1] = -np.inf
    clamp = Clamp("clipped", "x", -2.0, np.inf)
    maxima: dict[str, float] = {}
    assert note_maxima(maxima, {"x": masked, "y": values}, [clamp]) == {"x"}
    assert maxima == {"clipped": 2.0, "y": 1.0}
    collector = Collector(first_widths(maxima), clamps=[clamp], masked={"x"})
    collector.observe({"x": masked, "y": values})
    found = collector.collected().histograms
    assert {name: (h.minimum, h.maximum, h.total) for name, h in found.items()} == {
        "clipped": (-2.0, 1.0, size),
        "y": (1.0, 1.0, size),
    }


def test_minus_infinity_after_the_first_batch_drops_what_was_counted(kernel: str) -> None:
    values = np.ones(10, np.float32)
    collector = Collector(dict.fromkeys("xyz", 1 / BINS), clamps=[Clamp("z", "x", 0.0, np.inf)])
    collector.observe({"x": values, "y": values})
    collector.observe({"x": np.where(values > 0, -np.inf, values).astype(np.float32), "y": values})
    assert collector.masked == {"x", "z"}
    assert {name: h.total for name, h in collector.collected().histograms.items()} == {"y": 20}


def test_values_whose_sum_overflows_are_finite(kernel: str) -> None:
    values = np.full(50_000, 3e38, np.float32)
    assert histogram_of(values, values).total == values.size


SHAPES = [
    (1,),
    (3,),
    (1, 10),
    (1, 5000),
    (1, 4, 1, 1),
    (1, 3, 7, 7),
    (1, 96, 40, 41),
    (1, 5, 9000),
    (1, 197, 64),
    (2, 6, 5, 3),
    (7, 4097),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axis", [1, -1])
def test_both_kernels_and_a_plain_loop_agree(
    shape: tuple[int, ...], axis: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if counting.kernel is None:
        pytest.skip("built without a compiler")
    axis = axis if len(shape) > 1 else -1
    samples = [(RNG.standard_normal(shape) * scale).astype(np.float32) for scale in (1.0, 0.3, 7.0)]
    samples.append(np.maximum(samples[0], 0))
    samples[1].reshape(-1)[0] = -0.0
    found = []
    for kernel in (counting.kernel, None):
        monkeypatch.setattr(counting, "kernel", kernel)
        collector = Collector({"x": float(np.abs(samples[0]).max()) / BINS}, len(samples), {"x": axis})
        for position, sample in enumerate(samples):
            collector.observe({"x": sample}, position)
        found.append(collector.collected())
    compiled, plain = found
    assert compiled.histograms["x"] == plain.histograms["x"]
    assert compiled.extents == plain.extents
    a, b = compiled.channels["x"], plain.channels["x"]
    assert np.array_equal(a.minimum, b.minimum)
    assert np.array_equal(a.maximum, b.maximum)
    every = np.stack(samples)
    others = tuple(i for i in range(every.ndim) if i != (axis + 1 if axis > 0 else every.ndim - 1))
    assert np.array_equal(a.minimum, every.min(axis=others))
    assert np.array_equal(a.maximum, every.max(axis=others))
    np.testing.assert_allclose(a.mean, every.mean(axis=others, dtype=np.float64), atol=1e-5)
    np.testing.assert_allclose(b.mean, a.mean, atol=1e-5)

    histogram = compiled.histograms["x"]
    bins = np.abs(every / np.float32(histogram.width)).astype(int)
    assert np.array_equal(histogram.positive, np.bincount(bins[every >= 0], minlength=BINS + 1))
    assert np.array_equal(histogram.negative, np.bincount(bins[every < 0], minlength=BINS + 1))


def test_a_tensor_longer_than_a_chunk_is_counted_whole(kernel: str) -> None:
    values = np.linspace(-1, 1, 2 * CHUNK + 17, dtype=np.float32)
    assert histogram_of(values, values).total == values.size


def test_counts_stay_exact_beyond_31_bits(kernel: str) -> None:
    counter = Counter.empty(1 / BINS, 1, 1.0)
    counter.counts[0, BINS] = 2**40
    assert count(np.ones(1, np.float32), 1, [(counter, *WHOLE)]) == [(1.0, 1.0)]
    assert counter.settle()[0, BINS] == 2**40 + 1
    assert count(np.full(20_000, 3.0, np.float32), 20_000, [(counter, *WHOLE)]) == [(3.0, 3.0)]
    assert counter.width == 4 / BINS
    assert counter.settle()[0, BINS // 4] == 2**40 + 1
    assert counter.counts.sum() == 2**40 + 20_001


@pytest.mark.parametrize(("low", "high"), [(0.0, np.inf), (0.0, 6.0), (-1.5, 2.0), (-np.inf, 0.5), (3.0, 3.0)])
@pytest.mark.parametrize("shape", [(1, 5), (1, 3, 50, 50), (1, 4, 7, 7), (1, 197, 64)])
def test_what_only_cuts_a_tensor_off_is_counted_with_it(
    kernel: str, shape: tuple[int, ...], low: float, high: float
) -> None:
    samples = [(RNG.standard_normal(shape) * scale).astype(np.float32) for scale in (1, 5, 30)]
    clamp = Clamp("y", "x", low, high)
    maxima: dict[str, float] = {}
    note_maxima(maxima, {"x": samples[0]}, [clamp])
    together = Collector(first_widths(maxima), 3, None, [clamp])
    apart = Collector(first_widths(maxima), 3)
    for position, sample in enumerate(samples):
        together.observe({"x": sample}, position)
        apart.observe({"x": sample, "y": sample.clip(low, high)}, position)
    a, b = together.collected(), apart.collected()
    for name in ("x", "y"):
        assert a.histograms[name] == b.histograms[name]
        assert a.histograms[name].moving == b.histograms[name].moving
        assert np.array_equal(a.channels[name].total, b.channels[name].total)
        assert np.array_equal(a.channels[name].minimum, b.channels[name].minimum)
        assert np.array_equal(a.channels[name].maximum, b.channels[name].maximum)
    assert a.extents == b.extents


def test_one_tensor_of_more_than_32_bits_of_equal_values_is_counted(kernel: str) -> None:
    values = np.ones(1 << 20, np.float32)
    counter = Counter.empty(1 / BINS, 1, 1.0)
    counter.counts[0, BINS] = (1 << 32) - 3 * values.size  # as if so many had been counted
    for _ in range(4):  # the kernel's own copies hold 16 bits
        count(values, values.size, [(counter, *WHOLE)])
    assert counter.settle()[0, BINS] == (1 << 32) + values.size


def test_an_empty_activation_counts_nothing() -> None:
    nothing = np.ones(0, np.float32)
    assert collected(nothing, [nothing]).histograms == {}
    assert histogram_of(nothing, nothing, np.ones(3, np.float32)).total == 3  # it may fill later


def test_a_tensor_that_was_not_in_the_first_batch_is_an_error() -> None:
    with pytest.raises(ValueError, match="first batch"):
        Collector({}).observe({"x": np.ones(3, np.float32)})


def test_a_changing_number_of_channels_gives_up_channels_and_keeps_counts(kernel: str) -> None:
    samples = [np.ones((1, 3, 5), np.float32), np.ones((1, 3, 4), np.float32), np.ones((1, 3, 5), np.float32)]
    found = collected(samples[0], samples)
    assert found.histograms["x"].total == 42
    assert found.channels["x"].mean.size == 0
    assert found.channels["x"].samples == 3


def test_dead_and_tiny_tensors_start_at_the_dead_width() -> None:
    assert first_widths({"a": 0.0, "b": 1e-38, "c": 2.0}) == {"a": 2.0**-24, "b": 2.0**-24, "c": 2.0 / BINS}


samples_of_images = st.lists(st.lists(st.floats(-1e3, 1e3, width=32), min_size=6, max_size=6), min_size=2, max_size=7)


@given(images=samples_of_images, owners=st.lists(st.integers(0, 2), min_size=7, max_size=7), backwards=st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_division_of_the_images_merges_to_the_same_bits(
    images: list[list[float]], owners: list[int], backwards: bool
) -> None:
    samples = [np.array(image, np.float32).reshape(1, 3, 2) for image in images]
    whole = collected(samples[0], samples)
    parts = []
    for owner in range(3):
        positions = [p for p in range(len(samples)) if owners[p] == owner]
        if positions:
            parts.append(collected(samples[0], [samples[p] for p in positions], positions, len(samples)))
    merged: Collected = parts.pop(-1 if backwards else 0)
    while parts:
        merged = parts.pop().merged(merged) if backwards else merged.merged(parts.pop(0))
    assert merged.histograms["x"] == whole.histograms["x"]
    assert merged.histograms["x"].moving == whole.histograms["x"].moving
    assert merged.extents == whole.extents
    a, b = merged.channels["x"], whole.channels["x"]
    assert np.array_equal(a.total, b.total)
    assert np.array_equal(a.minimum, b.minimum)
    assert np.array_equal(a.maximum, b.maximum)
    assert (a.unit, a.samples) == (b.unit, b.samples)


def test_the_moving_average_is_the_one_that_is_updated_image_by_image() -> None:
    samples = [RNG.standard_normal(50).astype(np.float32) for _ in range(30)]
    low, high = float(samples[0].min()), float(samples[0].max())
    for sample in samples[1:]:
        low += 0.01 * (float(sample.min()) - low)
        high += 0.01 * (float(sample.max()) - high)
    moving = histogram_of(samples[0], *samples).moving
    assert moving.minimum == pytest.approx(low, rel=1e-12)
    assert moving.maximum == pytest.approx(high, rel=1e-12)


def test_the_extent_names_the_image_that_sets_the_range() -> None:
    samples = [np.array([value], np.float32) for value in (1, -2, 1, 9, 3, 1, 1, 1, 1, 4)]
    extent = collected(samples[0], samples).extents["x"]
    assert (extent.largest, extent.position, extent.runner_up) == (9, 3, 4)
    assert (extent.early_minimum, extent.early_maximum) == (-2, 9)


def test_files_give_back_what_was_collected(tmp_path) -> None:  # type: ignore[no-untyped-def]
    samples = [RNG.standard_normal((1, 3, 4, 4)).astype(np.float32) for _ in range(3)]
    found = collected(samples[0], samples)
    save_collected(tmp_path, found)
    loaded = load_collected(tmp_path)
    assert loaded.histograms["x"] == found.histograms["x"]
    assert loaded.histograms["x"].moving == found.histograms["x"].moving
    assert loaded.extents == found.extents
    assert np.array_equal(loaded.channels["x"].total, found.channels["x"].total)
    assert loaded.channels["x"].unit == found.channels["x"].unit
