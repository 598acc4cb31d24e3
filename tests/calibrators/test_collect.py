from __future__ import annotations

import numpy as np
import pytest

from quantkit.calibrators import Collector
from quantkit.calibrators.collect import CHUNK, NotFinite


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_and_named(bad: float) -> None:
    collector = Collector()
    collector.prime({"x": np.ones(3, np.float32)})
    with pytest.raises(NotFinite) as error:
        collector.observe({"x": np.array([1.0, bad], np.float32)})
    assert error.value.tensor == "x"
    with pytest.raises(NotFinite):
        collector.prime({"y": np.array([bad], np.float32)})


def test_a_tensor_longer_than_a_chunk_is_counted_whole() -> None:
    values = np.linspace(-1, 1, 2 * CHUNK + 17, dtype=np.float32)
    collector = Collector()
    collector.prime({"x": values})
    collector.observe({"x": values})
    assert collector.histograms()["x"].total == values.size


def test_restoring_continues_where_it_stopped() -> None:
    rng = np.random.default_rng(1)
    batches = [rng.standard_normal(50).astype(np.float32) * k for k in (1, 3, 0.1, 40)]
    whole, first = Collector(), Collector()
    for collector in (whole, first):
        collector.prime({"x": batches[0]})
    for batch in batches:
        whole.observe({"x": batch})
    first.observe({"x": batches[0]})
    second = Collector()
    second.restore(first.histograms())
    for batch in batches[1:]:
        second.observe({"x": batch})
    a, b = whole.histograms()["x"], second.histograms()["x"]
    assert np.array_equal(a.positive, b.positive)
    assert np.array_equal(a.negative, b.negative)
    assert (a.width, a.minimum, a.maximum) == (b.width, b.minimum, b.maximum)


def test_counts_stay_exact_beyond_31_bits() -> None:
    collector = Collector()
    collector.prime({"x": np.ones(1, np.float32)})
    collector.observe({"x": np.ones(1, np.float32)})
    histogram = collector.histograms()["x"]
    histogram.positive[2048] = 2**40
    collector.restore({"x": histogram})
    collector.observe({"x": np.ones(1, np.float32)})
    assert collector.histograms()["x"].total == 2**40 + 1


def test_an_empty_activation_counts_nothing() -> None:
    collector = Collector()
    collector.prime({"x": np.ones(0, np.float32)})
    collector.observe({"x": np.ones(0, np.float32)})
    assert collector.histograms() == {}
