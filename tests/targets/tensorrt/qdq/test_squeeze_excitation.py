"""Squeeze and excitation in TensorRT's Q/DQ: quantized as a whole where its product is, else left as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.ranges import TensorRange
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import open_model
from quantkit.graph.one_pixel import one_pixel_convs
from quantkit.targets.tensorrt.lint import lint
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from quantkit.targets.tensorrt.qdq.squeeze_excitation import gates_of

WIDTH = 32
BRANCH = ("squeeze", "excite", "scale")


def block(
    pool: str = "GlobalAveragePool", middle: str = "Relu", last: str = "Conv", swapped: bool = False
) -> onnx.ModelProto:
    """A Conv, a squeeze-and-excitation block that scales what it puts out, and a layer behind that."""
    rng = np.random.default_rng(0)
    shapes = {"w0": (WIDTH, 3, 3, 3), "w1": (16, WIDTH, 1, 1), "w2": (WIDTH, 16, 1, 1), "w3": (WIDTH, WIDTH, 1, 1)}
    weights = [
        numpy_helper.from_array((rng.standard_normal(shape) * 0.2).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    pools = {"AveragePool": {"kernel_shape": [2, 2]}, "ReduceMean": {"axes": [-1, -2]}}
    nodes = [
        helper.make_node("Conv", ["input", "w0"], ["c"], name="stem"),
        helper.make_node(pool, ["c"], ["p"], name="pool", **pools.get(pool, {})),
        helper.make_node("Conv", ["p", "w1"], ["s"], name="squeeze"),
        helper.make_node(middle, ["s", *(["repeats"] if middle == "Tile" else [])], ["r"], name="middle"),
        helper.make_node("Conv", ["r", "w2"], ["e"], name="excite"),
        helper.make_node("Sigmoid", ["e"], ["g"], name="gate"),
        helper.make_node("Mul", ["g", "c"] if swapped else ["c", "g"], ["m"], name="scale"),
        helper.make_node(last, ["m", *(["w3"] if last == "Conv" else [])], ["out"], name="last"),
    ]
    weights.append(numpy_helper.from_array(np.array([1, 1, 2, 2]), "repeats"))
    value = [
        helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 10, 10]),
        helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", "c", "h", "w"]),
    ]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def quantized(model: onnx.ModelProto, folder: Path, exclude: Sequence[str] = ()) -> onnx.ModelProto:
    onnx.save(model, folder / "m.onnx")
    names = ["input", *(name for node in model.graph.node for name in node.output)]
    ranges = {name: TensorRange.symmetric(4.0, -4.0, 4.0) for name in names}
    return quantized_for_tensorrt(open_model(folder / "m.onnx"), ranges, exclude).proto


def paired(model: onnx.ModelProto, name: str) -> list[bool]:
    """For each input of a node, whether a DequantizeLinear feeds it."""
    producers = {output: node.op_type for node in model.graph.node for output in node.output}
    node = next(node for node in model.graph.node if node.name == name)
    return [producers.get(source) == "DequantizeLinear" for source in node.input]


@pytest.mark.parametrize("pool", ["GlobalAveragePool", "GlobalMaxPool", "ReduceMean"])
def test_both_convs_behind_a_global_pool_are_found_and_no_other(pool: str) -> None:
    assert one_pixel_convs(Graph(block(pool).graph)) == {"squeeze", "excite"}


def test_a_pool_that_leaves_pixels_is_no_squeeze() -> None:
    assert one_pixel_convs(Graph(block("AveragePool").graph)) == set()
    assert gates_of(Graph(block("AveragePool").graph)) == []


def test_what_may_add_pixels_ends_it() -> None:
    assert one_pixel_convs(Graph(block(middle="Tile").graph)) == {"squeeze"}
    assert gates_of(Graph(block(middle="Tile").graph)) == []


@pytest.mark.parametrize("axes", [[1, 2, 3], [2], []])
def test_a_mean_over_other_axes_is_no_squeeze(axes: list[int]) -> None:
    model = block("ReduceMean")
    pool = next(node for node in model.graph.node if node.name == "pool")
    del pool.attribute[:]
    if axes:
        pool.attribute.append(helper.make_attribute("axes", axes))
    assert one_pixel_convs(Graph(model.graph)) == set()


@pytest.mark.parametrize("swapped", [True, False])
def test_a_gate_is_known_by_what_it_is_computed_from(swapped: bool) -> None:
    [gate] = gates_of(Graph(block(swapped=swapped).graph))
    assert (gate.mul.name, gate.scaled, gate.gate) == ("scale", "c", "g")
    assert {conv.name for conv in gate.convs} == {"squeeze", "excite"}
    other = block()
    next(node for node in other.graph.node if node.name == "scale").input[0] = "input"
    assert gates_of(Graph(other.graph)) == []


@pytest.mark.parametrize("pool", ["GlobalAveragePool", "ReduceMean"])
def test_the_whole_branch_is_quantized_where_its_product_is(tmp_path: Path, pool: str) -> None:
    model = quantized(block(pool), tmp_path)
    onnx.checker.check_model(model, full_check=True)
    for name in (*BRANCH, "last"):
        assert paired(model, name) == [True, True]
    assert paired(model, "pool") == [True]  # so that the Conv before it puts out INT8 and nothing else
    assert not [finding for finding in lint(model) if finding.severity != "note"]
    x = np.random.default_rng(1).standard_normal((1, 3, 10, 10)).astype(np.float32)
    want, got = (ort.InferenceSession(m.SerializeToString()).run(None, {"input": x})[0] for m in (block(pool), model))
    assert 10 * np.log10((want**2).sum() / ((want - got) ** 2).sum()) > 20


@pytest.mark.parametrize("exclude", ["scale", "squeeze", "excite"])
def test_a_branch_with_an_excluded_node_keeps_floating_point(tmp_path: Path, exclude: str) -> None:
    model = quantized(block(), tmp_path, [exclude])
    for name in (*BRANCH, "pool"):
        assert not any(paired(model, name))
    assert paired(model, "last") == [True, True]


@pytest.mark.parametrize("last", ["Conv", "Tanh"])
def test_a_product_that_floating_point_takes_keeps_its_branch_there(tmp_path: Path, last: str) -> None:
    model = quantized(block(last=last), tmp_path, ["last"])
    for name in (*BRANCH, "pool", "last"):
        assert not any(paired(model, name))
    assert paired(model, "stem") == [True, True]
