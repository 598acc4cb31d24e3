"""The task "embedding": the right output, the mean over the mask, neighbours and pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantkit.core.errors import BadConfig
from quantkit.datasets.texts import Half
from quantkit.graph.model_io import ModelInput
from quantkit.tasks.base import TaskSettings
from quantkit.tasks.embedding import NEIGHBOURS, Embedding, Pooling, _pooling, neighbours
from tests.graphs.small import network, opened


def out(name: str, *shape: int | str, dtype: str = "float32") -> ModelInput:
    return ModelInput(name, shape, dtype)


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([out("y", "N", 32)], Pooling("y")),
        ([out("last_hidden_state", "N", "T", 32)], Pooling("last_hidden_state", "tokens")),
        ([out("tokens", "N", 1, "T", 32)], Pooling("tokens", "tokens")),
        ([out("features", "N", 512, 1, 1)], Pooling("features", "places")),
        ([out("token_embeddings", "N", "T", 8), out("sentence_embedding", "N", 8)], Pooling("sentence_embedding")),
        ([out("461", "N", 8), out("422", "N", "T", 8), out("ids", "N", "T", dtype="int64")], Pooling("461")),
    ],
)
def test_the_output_is_chosen_where_it_is_certain(outputs: list[ModelInput], expected: Pooling) -> None:
    assert _pooling(outputs, named=False) == expected


@pytest.mark.parametrize(
    "outputs",
    [
        [out("last_hidden_state", "N", "T", 32), out("pooler_output", "N", 32)],
        [out("a", "N", 8), out("b", "N", 8)],
        [out("ids", "N", "T", dtype="int64")],
    ],
)
def test_where_it_is_not_the_user_has_to_say(outputs: list[ModelInput]) -> None:
    with pytest.raises(BadConfig, match="not certain which of the model's outputs holds embeddings"):
        _pooling(outputs, named=False)


def test_what_the_user_names_is_taken(tmp_path: Path) -> None:
    model = opened(network("(float[N,4] x) => (float[N,4] a, float[N,4] b) { a = Relu(x) b = Tanh(x) }"), tmp_path)
    assert Embedding().fitted(model, TaskSettings(output="b")).pooling == Pooling("b")
    with pytest.raises(BadConfig, match="no output 'c'"):
        Embedding().fitted(model, TaskSettings(output="c"))
    with pytest.raises(BadConfig, match="takes no threshold"):
        Embedding().fitted(model, TaskSettings(threshold=0.5))


def test_the_mean_is_over_the_attention_mask() -> None:
    tokens = np.array([[[1.0, 0], [3, 0], [0, 50]], [[0, 2], [0, 4], [0, 6]]], np.float32)
    mask = np.array([[1, 1, 0], [1, 1, 1]])
    task = Embedding(Pooling("tokens", "tokens"))
    found = task.answers({"tokens": tokens}, {"attention_mask": mask})
    assert found is not None
    assert found.tolist() == [[1, 0], [0, 1]]
    spread = task.answers({"tokens": tokens[:, None]}, {"attention_mask": mask})  # as a batch of one may come
    assert spread is not None
    assert spread.tolist() == found.tolist()
    assert task.answers({"other": tokens}, {}) is None


def test_a_map_of_features_is_a_vector_of_its_channels() -> None:
    features = np.array([[[[1, 5]], [[2, 6]]], [[[0, 0]], [[-3, -3]]]], np.float32)  # (N, C, H, W) = (2, 2, 1, 2)
    found = Embedding(Pooling("features", "places")).decode({"features": features})
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, -1]], rtol=1e-6)


def test_what_is_not_finite_is_no_direction() -> None:
    found = Embedding(Pooling("y")).decode({"y": np.array([[np.nan, 1], [0, 0], [3, 4]], np.float32)})
    assert found is not None
    assert found.tolist() == [[0, 0], [0, 0], [pytest.approx(0.6), pytest.approx(0.8)]]


def test_neighbours_are_those_of_a_plain_search() -> None:
    random = np.random.default_rng(0)
    reference = random.normal(size=(600, 8)).astype(np.float32)
    own = reference + 0.2 * random.normal(size=(600, 8)).astype(np.float32)
    own, reference = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (own, reference))
    same, shared = neighbours(own, reference)
    for sample in (0, 123, 599):
        near = []
        for each in (own, reference):
            order = [int(other) for other in np.argsort(-(each @ each[sample])) if other != sample]
            near.append(order[:NEIGHBOURS])
        assert same[sample] == (near[0][0] == near[1][0])
        assert shared[sample] == len({*near[0]} & {*near[1]}) / NEIGHBOURS
    same, shared = neighbours(reference, reference)
    assert same.all()
    assert (shared == 1).all()


def test_pairs_are_found_in_any_order_and_only_whole_ones_count() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(21, 4)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    annotations = [Half(number % 10, float(number % 10)) for number in range(20)] + [Half(99, 1.0)]
    scorer = Embedding().scorer()
    for rows in (np.arange(0, 21, 2), np.arange(1, 21, 2)):
        scorer.update(values[rows], values[rows], [annotations[row] for row in rows])
    result = scorer.result()
    cosines = [float(values[number] @ values[number + 10]) for number in range(10)]
    spearmanr = pytest.importorskip("scipy.stats").spearmanr
    assert result.metrics["spearman"].value == pytest.approx(spearmanr(cosines, np.arange(10)).statistic)
    assert result.changes["spearman"].p_value == 1
    assert result.metrics["cosine"].value == pytest.approx(1)
