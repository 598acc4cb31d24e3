from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quantkit.core.errors import BadInput
from quantkit.core.statistics.files import load_histograms, save_histograms
from quantkit.core.statistics.histogram import BINS
from tests.calibrators.counting import histogram_of

VALUES = hnp.arrays(
    np.float32,
    st.integers(1, 60),
    elements=st.floats(-1e4, 1e4, width=32, allow_nan=False) | st.sampled_from([0.0, 1.0, 2.0, -1.0, 4.0, -0.0]),
)


@given(first=VALUES, rest=st.lists(VALUES, min_size=2, max_size=4))
@settings(max_examples=150, deadline=None)
def test_any_split_merges_to_the_counts_of_one_pass(first: np.ndarray, rest: list[np.ndarray]) -> None:
    whole = histogram_of(first, first, *rest)
    parts = [histogram_of(first, part) for part in (first, *rest)]
    forward = parts[0]
    for part in parts[1:]:
        forward = forward.merged(part)
    backward = parts[-1]
    for part in reversed(parts[:-1]):
        backward = part.merged(backward)
    for merged in (forward, backward):  # moving averages weigh images by their place, which each part counts from 0
        assert replace(merged, moving=whole.moving) == whole


@given(first=VALUES, rest=VALUES)
@settings(max_examples=100, deadline=None)
def test_every_value_is_counted_and_the_extremes_are_exact(first: np.ndarray, rest: np.ndarray) -> None:
    values = np.concatenate([first, rest])
    histogram = histogram_of(first, values)
    assert histogram.total == values.size == histogram.absolute.sum()
    assert histogram.minimum == values.min()
    assert histogram.maximum == values.max()
    assert histogram.negative.sum() == (values < 0).sum()


def test_the_top_edge_doubles_into_the_bin_where_it_belongs() -> None:
    histogram = histogram_of(np.array([1.0], np.float32), np.array([1.0, 1.5], np.float32))
    assert histogram.width == 2.0 / BINS
    assert histogram.positive[BINS // 2] == 1  # 1.0 at width 2/2048
    assert histogram.positive[BINS * 3 // 4] == 1


def test_a_tensor_that_was_zero_at_first_starts_at_the_dead_width() -> None:
    zeros = np.zeros(4, np.float32)
    assert histogram_of(zeros, zeros).is_dead
    assert histogram_of(zeros, zeros).width == 2.0**-24
    grown = histogram_of(zeros, zeros, np.array([3.0], np.float32))
    assert np.log2(grown.width) == int(np.log2(grown.width))
    assert grown.width * BINS >= 3.0


def test_widths_that_are_no_doublings_do_not_merge() -> None:
    with pytest.raises(ValueError, match="not a doubling"):
        histogram_of(*[np.array([1.0], np.float32)] * 2).merged(histogram_of(*[np.array([3.0], np.float32)] * 2))


def test_saving_and_loading_gives_the_same(tmp_path: Path) -> None:
    histogram = histogram_of(*[np.array([1.0, -2.5], np.float32)] * 2)
    save_histograms(tmp_path / "h.npz", {"a: ü/\n": histogram})
    loaded = load_histograms(tmp_path / "h.npz")
    assert list(loaded) == ["a: ü/\n"]
    assert loaded["a: ü/\n"] == histogram


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"junk"])
def test_a_damaged_file_is_bad_input(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "h.npz").write_bytes(content)
    with pytest.raises(BadInput, match="histogram file"):
        load_histograms(tmp_path / "h.npz")
