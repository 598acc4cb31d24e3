"""A Clip is a ReLU where the pair behind it ends no higher, and the model's answers stay the same to the bit."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.targets.tensorrt.qdq.saturating_clips import relus_for_clips


def clipped(
    scale: float, bounds: tuple[float, float] = (0.0, 6.0), dtype: type = np.int8, out: str = ""
) -> onnx.ModelProto:
    """Clip, a pair; with ``out`` the Clip's own output, too, is the model's."""
    nodes = [
        helper.make_node("Clip", ["x", "low", "high"], ["c"], name="clip"),
        helper.make_node("QuantizeLinear", ["c", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    constants = {
        "low": np.float32(bounds[0]),
        "high": np.float32(bounds[1]),
        "scale": np.float32(scale),
        "zero": dtype(0),
    }
    outputs = ["y", *filter(None, [out])]
    graph = helper.make_graph(
        nodes,
        "clipped",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1000])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1000]) for name in outputs],
        [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (clipped(6 / 127), "Relu"),
        (clipped(4.4 / 127), "Relu"),  # ends lower
        (clipped(6.01 / 127), "Relu"),  # 6 still rounds to the largest
        (clipped(6.1 / 127), "Clip"),
        (clipped(6 / 127, (0.5, 6.0)), "Clip"),
        (clipped(6 / 127, (-1.0, 6.0)), "Clip"),
        (clipped(6 / 127, dtype=np.uint8), "Clip"),  # 6 is not its largest
        (clipped(6 / 127, out="c"), "Clip"),
    ],
)
def test_a_clip_becomes_a_relu_where_no_value_changes(model: onnx.ModelProto, kind: str) -> None:
    x = np.linspace(-20, 20, 1000, dtype=np.float32)
    before = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    relus_for_clips(model.graph)
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.node[0].op_type == kind
    assert len(model.graph.initializer) == (2 if kind == "Relu" else 4)
    after = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def moved(and_out: str) -> onnx.ModelProto:
    """A Clip with a pair behind it, and one behind a Reshape and a MaxPool; ``and_out`` is an output as it is."""
    model = clipped(6 / 127)
    nodes = [
        helper.make_node("Reshape", ["c", "shape"], ["image"]),
        helper.make_node("MaxPool", ["image"], ["pooled"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("QuantizeLinear", ["pooled", "scale", "zero"], ["p"]),
        helper.make_node("DequantizeLinear", ["p", "scale", "zero"], ["z"]),
    ]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 25, 40]), "shape"))
    for name in filter(None, ("z", and_out)):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 25, 40]))
    return model


@pytest.mark.parametrize(("and_out", "kind"), [("", "Relu"), ("image", "Clip"), ("pooled", "Clip")])
def test_layers_that_move_values_to_the_pair_make_no_difference(and_out: str, kind: str) -> None:
    model = moved(and_out)
    x = np.random.default_rng(0).uniform(-20, 20, 1000).astype(np.float32)
    before = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    relus_for_clips(model.graph)
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.node[0].op_type == kind
    after = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


MOVES = {
    "Slice": ("moved = Slice (image, two, six, two)", "Relu"),
    "Split": ("moved, rest = Split <axis = 2> (image, halves)", "Relu"),
    "Gather": ("moved = Gather <axis = 2> (image, two)", "Relu"),
    "DepthToSpace": ("moved = DepthToSpace <blocksize = 2> (image)", "Relu"),
    "SpaceToDepth": ("moved = SpaceToDepth <blocksize = 5> (image)", "Relu"),
    "Tile": ("moved = Tile (image, twice)", "Relu"),
    "AveragePool": ("moved = AveragePool <kernel_shape = [2, 2]> (image)", "Clip"),
    "MaxPool with indices": ("moved, places = MaxPool <kernel_shape = [2, 2]> (image)", "Clip"),
    "Cast": ("half = Cast <to = 10> (image)  moved = Cast <to = 1> (half)", "Clip"),
}


@pytest.mark.parametrize("kind", MOVES)
def test_all_layers_that_commute_with_rounding_are_looked_through(kind: str) -> None:
    body, expected = MOVES[kind]
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 13]> g (float[1000] x) => (float[a, b, c, d] z)
        <float low = {{0}}, float high = {{6}}, float scale = {{0.047244}}, int8 zero = {{0}}, int64[1] two = {{2}},
         int64[4] shape = {{1, 4, 10, 25}}, int64[2] halves = {{5, 5}}, int64[1] six = {{6}},
         int64[4] twice = {{1, 1, 2, 2}}> {{
            c = Clip (x, low, high)
            image = Reshape (c, shape)
            {body}
            q = QuantizeLinear (moved, scale, zero)
            z = DequantizeLinear (q, scale, zero)
        }}"""
    )
    x = np.random.default_rng(0).uniform(-20, 20, 1000).astype(np.float32)
    before = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    relus_for_clips(model.graph)
    assert model.graph.node[0].op_type == expected
    (after,) = ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_array_equal(before[0], after)
    assert after.max() == 127 * np.float32(0.047244)


def test_bounds_that_are_numbers_in_constant_nodes_are_bounds() -> None:
    model = clipped(6 / 127)
    del model.graph.initializer[:2]
    for name, value in (("low", 0.0), ("high", 6.0)):
        model.graph.node.insert(0, helper.make_node("Constant", [], [name], value_float=value))
    relus_for_clips(model.graph)
    assert next(node.op_type for node in model.graph.node if node.op_type != "Constant") == "Relu"
