"""A layer's rows times its weight are the layer's outputs, as onnxruntime computes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from quantkit.graph.graph import Graph
from quantkit.graph.layer_rows import LayerRows, layer_rows
from tests.graphs.small import network, outputs, weights

CONVS = [
    ((1, 6, 9, 7), (4, 6, 3, 3), ""),
    ((2, 6, 9, 7), (4, 6, 3, 3), "strides = [2, 1], pads = [1, 0, 2, 1]"),
    ((1, 6, 9, 7), (4, 6, 3, 2), "dilations = [2, 3], pads = [2, 2, 2, 2]"),
    ((1, 6, 9, 7), (6, 2, 3, 3), "group = 3, pads = [1, 1, 1, 1]"),
    ((1, 6, 9, 7), (6, 1, 3, 3), "group = 6, strides = [2, 2], pads = [1, 1, 1, 1]"),
    ((1, 6, 9, 7), (4, 6, 1, 1), ""),
    ((1, 6, 9, 7), (4, 6, 3, 3), 'auto_pad = "SAME_UPPER"'),
    ((3, 6, 11), (4, 6, 5), "pads = [2, 2], strides = [3]"),
    ((1, 2, 5, 6, 7), (3, 2, 2, 3, 2), "pads = [0, 1, 0, 1, 1, 0]"),
]


@pytest.mark.parametrize(("shape", "kernel", "attributes"), CONVS)
def test_the_rows_of_a_conv(shape: tuple[int, ...], kernel: tuple[int, ...], attributes: str) -> None:
    dims = ", ".join(map(str, shape))
    model = network(
        f"(float[{dims}] x) => (float[N] y) {{ y = Conv <{attributes}> (x, w) }}" if attributes else
        f"(float[{dims}] x) => (float[N] y) {{ y = Conv (x, w) }}", {"w": weights(*kernel)}
    )  # fmt: skip
    rows = layer_rows(graph := Graph(model.graph), graph.nodes[0])
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = outputs(model, {"x": values})[0]
    places = expected.shape[0] * int(np.prod(expected.shape[2:]))
    assert rows is not None
    taken = rows.taken(values, places, 0)
    assert taken is not None and len(taken) == places
    own = taken.reshape(places, rows.groups, rows.width)
    weight = weights(*kernel).reshape(rows.groups, -1, rows.width)
    found = np.einsum("pgd,god->pgo", own, weight).reshape(shape[0], -1, kernel[0])
    np.testing.assert_allclose(found.transpose(0, 2, 1).reshape(expected.shape), expected, atol=1e-4)


@pytest.mark.parametrize(("op", "shape"), [("MatMul (x, w)", (8, 5)), ("Gemm <transB = 1> (x, w)", (5, 8))])
def test_the_rows_of_a_matrix_product(op: str, shape: tuple[int, ...]) -> None:
    model = network(f"(float[6, 8] x) => (float[6, 5] y) {{ y = {op} }}", {"w": weights(*shape)})
    rows = layer_rows(graph := Graph(model.graph), graph.nodes[0])
    values = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    assert rows is not None
    taken = rows.taken(values, 6, 0)
    assert taken is not None
    weight = weights(*shape) if shape == (8, 5) else weights(*shape).T
    np.testing.assert_allclose(taken @ weight, outputs(model, {"x": values})[0], atol=1e-4)


def test_other_places_at_each_turn_and_always_the_same() -> None:
    graph = Graph(network("(float[1, 64, 4] x) => (float[1, 64, 3] y) { y = MatMul (x, w) }",
                          {"w": weights(4, 3)}).graph)  # fmt: skip
    rows = layer_rows(graph, graph.nodes[0])
    values = np.arange(256, dtype=np.float32).reshape(1, 64, 4)
    assert rows is not None
    seen = [tuple(rows.taken(values, 4, turn)[:, 0]) for turn in range(8)]  # type: ignore[index]
    assert len({place for turn in seen for place in turn}) > 20
    assert seen == [tuple(rows.taken(values, 4, turn)[:, 0]) for turn in range(8)]  # type: ignore[index]


def test_a_shape_that_does_not_fit_gives_no_rows() -> None:
    graph = Graph(network("(float[1, 4, 8, 8] x) => (float[N] y) { y = Conv (x, w) }",
                          {"w": weights(2, 4, 3, 3)}).graph)  # fmt: skip
    rows = layer_rows(graph, graph.nodes[0])
    assert rows is not None
    assert rows.taken(np.zeros((1, 5, 8, 8), np.float32), 4, 0) is None
    assert rows.taken(np.zeros((4, 8), np.float32), 4, 0) is None
    assert rows.taken(np.zeros((1, 4, 2, 2), np.float32), 4, 0) is not None  # no place, and so no row


def test_foreign_operators_and_computed_weights_have_no_rows(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], domain="com.example")
    graph = onnx.helper.make_graph([node], "g", [], [])
    assert layer_rows(Graph(graph), node) is None


def test_weights_may_be_constant_nodes() -> None:
    """Paddle2ONNX writes all of them so."""
    model = network("(float[1, 4, 8, 8] x) => (float[N] y) { y = Conv (x, w) }", {"w": weights(2, 4, 3, 3)})
    graph = model.graph
    held = helper.make_node("Constant", [], ["w"], value=graph.initializer[0])
    del graph.initializer[:]
    nodes = [held, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    assert layer_rows(Graph(graph), graph.node[1]) == LayerRows("x", (3, 3), (1, 1), (0,) * 4, (1, 1), 1, 36)


@pytest.mark.parametrize("kernel", [(), (3, 3), (1, 1)])
def test_places_are_where_the_rows_lie(kernel: tuple[int, ...]) -> None:
    values = np.random.default_rng(2).normal(size=(3, 4, 9, 8)).astype(np.float32)
    padded = (1, 1, 1, 1) if kernel == (3, 3) else (0, 0, 0, 0)
    rows = LayerRows("x", width=8)
    if kernel:
        rows = LayerRows("x", kernel, (2, 1), padded, (1, 1), 1, 4 * kernel[0] * kernel[1])
    places, flat = rows.places(values.shape, 20, 5), values.reshape(-1)
    expected = rows.taken(values, 20, 5)
    assert places is not None and expected is not None
    channel, under = np.divmod(np.arange(rows.width), places.under.shape[1])
    index = places.base[:, None] + channel * places.step + places.under[:, under]
    np.testing.assert_array_equal(np.where(places.under[:, under] < 0, 0, flat[index]), expected)
    assert rows.places((3, 5), 20, 5) is None
