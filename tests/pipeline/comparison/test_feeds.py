"""The inputs that latency is measured with: named shapes are the model's own, or refused before anything is built."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantkit.core.errors import BadConfig
from quantkit.datasets import Batch
from quantkit.graph.model_file import ModelFile
from quantkit.pipeline.comparison.feeds import check_named, common_feed, named_feed
from tests.graphs.sequences import state_model, text_model
from tests.graphs.small import network, opened

TEXTS = Batch({"input_ids": np.arange(5)[None], "attention_mask": np.ones((1, 5), np.int64)}, [0])


@pytest.fixture
def texts(tmp_path: Path) -> ModelFile:
    return opened(text_model(), tmp_path)


def test_other_inputs_follow_by_the_names_of_dimensions(texts: ModelFile) -> None:
    feed = named_feed(texts, "input_ids=2x8", TEXTS)
    assert feed.batch == 2
    assert feed.inputs["input_ids"].tolist() == [[0, 1, 2, 3, 4, 0, 1, 2]] * 2
    assert feed.inputs["attention_mask"].shape == (2, 8)
    assert feed.inputs["input_ids"].dtype == np.int64
    cut = named_feed(texts, "attention_mask=1x3", TEXTS)
    assert cut.inputs["input_ids"].tolist() == [[0, 1, 2]]


def test_the_batch_may_lie_along_any_axis(tmp_path: Path) -> None:
    model = opened(state_model(), tmp_path)
    sample = Batch({"window": np.ones((1, 4), np.float32), "state": np.ones((2, 1, 32), np.float32)}, [0])
    feed = named_feed(model, "window=3x6", sample)
    assert feed.inputs["state"].shape == (2, 3, 32)


def test_the_common_shape_is_written_as_it_is_given(texts: ModelFile, tmp_path: Path) -> None:
    feed = common_feed(texts, TEXTS, 4)
    assert feed.shape == "input_ids=4x5"
    same = named_feed(texts, feed.shape, TEXTS)
    assert {name: own.shape for name, own in same.inputs.items()} == {n: own.shape for n, own in feed.inputs.items()}
    fixed = opened(network("(float[N,4] x) => (float[N,4] y) { y = Relu(x) }"), tmp_path)
    assert common_feed(fixed, Batch({"x": np.ones((1, 4), np.float32)}, [0]), 8).shape == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("input_ids", "cannot be read"),
        ("input_ids=0x4", "cannot be read"),
        ("input_ids=1x4,input_ids=1x5", "cannot be read"),
        ("tokens=1x4", "no input 'tokens'"),
        ("input_ids=1x4x3", "does not fit the input 'input_ids', which takes N x T"),
        ("input_ids=2x4,attention_mask=3x4", "has the batches 2, 3"),
        ("input_ids=1x4,attention_mask=1x5", "gives the dimension 'T' two sizes"),
    ],
)
def test_a_shape_that_does_not_fit_is_told(texts: ModelFile, text: str, message: str) -> None:
    for sample in (TEXTS, None):
        with pytest.raises(BadConfig, match=message):
            check_named(texts, [text], sample)


def test_a_shape_that_the_model_fails_on_is_told(tmp_path: Path) -> None:
    text = "(float[N,T] x) => (float[N,T] y) { y = Add(x, four) }"
    model = opened(network(text, {"four": np.ones(4)}), tmp_path)
    sample = Batch({"x": np.ones((1, 4), np.float32)}, [0])
    assert check_named(model, ["x=1x4", "x=8x4", "x=8x1"], sample) == [1, 8]
    with pytest.raises(BadConfig, match="The model cannot be run at the shape x=1x6"):
        check_named(model, ["x=1x6"], sample)
