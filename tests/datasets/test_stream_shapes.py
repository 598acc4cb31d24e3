"""Samples of one shape run together: no batch mixes shapes, none is lost, and few wait."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantkit.core.preprocess import Preparation
from quantkit.datasets import Dataset, Inputs, Stream
from quantkit.datasets import stream as own
from quantkit.pipeline.calibration.workers import Group


class Lengths(Dataset):
    """Samples of these lengths."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = lengths
        self.source, self.names = "lengths", [str(number) for number in range(len(lengths))]
        self.preprocess = Preparation(name="lengths", description="as they are")

    def load(self, index: int) -> tuple[Inputs, bytes]:
        return {"x": np.full(self.lengths[index], index, np.float32)}, bytes([index % 256])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4), max_size=60), st.integers(1, 6))
def test_batches_hold_one_shape_and_every_sample_once(lengths: list[int], size: int) -> None:
    batches = list(Stream(Lengths(lengths), range(len(lengths))).batches(size))
    for batch in batches:
        assert 1 <= len(batch.indices) <= size
        assert {lengths[index] for index in batch.indices} == {batch.inputs["x"].shape[1]}
        assert batch.indices == sorted(batch.indices)
        assert batch.inputs["x"][:, 0].tolist() == batch.indices
    assert sorted(index for batch in batches for index in batch.indices) == list(range(len(lengths)))
    again = [batch.indices for batch in Stream(Lengths(lengths), range(len(lengths))).batches(size)]
    assert [batch.indices for batch in batches] == again


def test_samples_of_one_shape_stay_in_order() -> None:
    found = [batch.indices for batch in Stream(Lengths([3] * 7), range(7)).batches(3)]
    assert found == [[0, 1, 2], [3, 4, 5], [6]]


def test_samples_of_one_shape_come_one_after_the_other() -> None:
    lengths = [1 + number % 5 for number in range(40)]
    found = [lengths[batch.indices[0]] for batch in Stream(Lengths(lengths), range(40)).batches(1)]
    changes = sum(before != after for before, after in pairwise(found))
    assert changes <= 5  # the first sample comes before anything is known of the others


def test_few_samples_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []

    class Watched(Lengths):
        def load(self, index: int) -> tuple[Inputs, bytes]:
            loaded.append(index)
            return super().load(index)

    ahead = 2 * own.WORKERS  # decoded before they are asked for
    first = next(Stream(Watched([*range(1, 300)]), range(299)).batches(2))
    assert first.indices == [0]
    assert len(loaded) <= own.WAITING + ahead
    loaded.clear()
    monkeypatch.setattr(own, "WAITING_BYTES", 100)
    assert next(Stream(Watched([9] * 2 + [8] * 290), range(292)).batches(2)).indices == [0, 1]
    assert len(loaded) <= 4 + ahead


def test_a_fixed_batch_is_filled_with_one_shape() -> None:
    stream = Stream(Lengths([2, 2, 3, 2, 2]), range(5))
    groups = list(Group.of(stream.samples(range(5)), 4))
    assert [[sample.position for sample in group.samples] for group in groups] == [[0, 1], [2], [3], [4]]
    assert [group.inputs["x"].shape for group in groups] == [(4, 2), (4, 3), (4, 2), (4, 2)]
