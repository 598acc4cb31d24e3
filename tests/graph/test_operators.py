"""Facts about operators, each compared with what the operator computes in onnx's reference implementation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator
from onnxruntime import InferenceSession

from quantkit.graph.graph import Graph
from quantkit.graph.operators import (
    MOVING,
    PARTING,
    REARRANGING,
    WEIGHTED,
    clip_bounds,
    commutes_with_rounding,
    is_default_domain,
    is_nearest_resize,
    is_plain_product,
    never_negative,
    parts_a_tensor,
    weight_output_axis,
)

SHAPE = (1, 4, 4, 6)
SCALE = np.float32(0.37)
Arrays = list[npt.NDArray[Any]]

ACCEPTED = {
    "DepthToSpace": "y = DepthToSpace <blocksize = 2> (x)",
    "Dropout": "y = Dropout (x)",
    "Expand": "s = Constant <value_ints = [2, 4, 4, 6]> ()  y = Expand (x, s)",
    "Flatten": "y = Flatten (x)",
    "Gather": "i = Constant <value_ints = [2, 0, 2]> ()  y = Gather <axis = 1> (x, i)",
    "GatherElements": """v = Constant <value = int64[1, 1, 2, 1] {3, 0}> ()  s = Constant <value_ints = [1, 4, 2, 6]> ()
                         i = Expand (v, s)  y = GatherElements <axis = 2> (x, i)""",
    "GatherND": "i = Constant <value = int64[2, 2] {0, 3, 0, 1}> ()  y = GatherND (x, i)",
    "Identity": "y = Identity (x)",
    "MaxPool": "y = MaxPool <kernel_shape = [2, 3], strides = [2, 1]> (x)",
    "Reshape": "s = Constant <value_ints = [0, -1]> ()  y = Reshape (x, s)",
    "Resize": 's = Constant <value_floats = [1.0, 1.0, 1.5, 2.0]> ()  y = Resize <mode = "nearest"> (x, , s)',
    "Slice": """b = Constant <value_ints = [3]> ()  e = Constant <value_ints = [0]> ()
                a = Constant <value_ints = [3]> ()  s = Constant <value_ints = [-1]> ()  y = Slice (x, b, e, a, s)""",
    "SpaceToDepth": "y = SpaceToDepth <blocksize = 2> (x)",
    "Split": "y, z = Split <axis = 1, num_outputs = 2> (x)",
    "Squeeze": "y = Squeeze (x)",
    "Tile": "r = Constant <value_ints = [1, 2, 1, 3]> ()  y = Tile (x, r)",
    "Transpose": "y = Transpose <perm = [0, 2, 3, 1]> (x)",
    "Unsqueeze": "a = Constant <value_ints = [0]> ()  y = Unsqueeze (x, a)",
}
REFUSED = {
    "Add": "c = Constant <value_float = 0.1> ()  y = Add (x, c)",
    "AveragePool": "y = AveragePool <kernel_shape = [2, 2]> (x)",
    "Cast to FP16": "h = Cast <to = 10> (x)  y = Cast <to = 1> (h)",
    "Cast to INT32": "h = Cast <to = 6> (x)  y = Cast <to = 1> (h)",
    "Clip": "l = Constant <value_float = 0.1> ()  y = Clip (x, l)",
    "Concat": """c = Constant <value_float = 0.1> ()  s = Shape (x)  w = Expand (c, s)
        y = Concat <axis = 1> (x, w)""",
    "Dropout in training": "r = Constant <value_float = 0.4> ()  t = Constant <value = bool {1}> () "
    "y = Dropout <seed = 7> (x, r, t)",
    "LeakyRelu": "y = LeakyRelu <alpha = 0.1> (x)",
    "Max": "c = Constant <value_float = 0.1> ()  y = Max (x, c)",
    "MaxPool with indices": "y, i = MaxPool <kernel_shape = [2, 2]> (x)",
    "Pad": "p = Constant <value_ints = [0, 0, 1, 1, 0, 0, 0, 0]> ()  v = Constant <value_float = 0.1> () "
    "y = Pad (x, p, v)",
    "ReduceMean": "y = ReduceMean (x)",
    "Resize, cropping": """n = Constant <value_floats = [0.0, 0.0, -0.5, 0.0, 1.0, 1.0, 1.0, 1.0]> ()
        f = Constant <value_floats = [1.0, 1.0, 2.0, 1.0]> ()
        y = Resize <coordinate_transformation_mode = "tf_crop_and_resize", extrapolation_value = 0.1> (x, n, f)""",
    "Resize, cubic": 's = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> ()  y = Resize <mode = "cubic"> (x, , s)',
    "Resize, linear": 's = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> ()  y = Resize <mode = "linear"> (x, , s)',
    "Sigmoid": "y = Sigmoid (x)",
    "TopK": "k = Constant <value_ints = [2]> ()  y, i = TopK (x, k)",
    "Where": "z = Constant <value_float = 0.1> ()  m = Greater (x, z)  c = Not (m)  y = Where (c, x, z)",
}  # fmt: skip


def run(model: onnx.ModelProto, *inputs: npt.NDArray[Any]) -> Arrays:
    names = [value.name for value in model.graph.input]
    return list(ReferenceEvaluator(model).run(None, dict(zip(names, inputs, strict=True))))


def model_of(body: str, kind: str = "float") -> onnx.ModelProto:
    """A model of input x with the outputs of the body's last node."""
    header = f'<ir_version: 10, opset_import: ["": 21]> g ({kind}[{", ".join(map(str, SHAPE))}] x) => ({kind} y)'
    model = parser.parse_model(f"{header} {{ {body} }}")
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in model.graph.node[-1].output)
    return model


def node_of(body: str, op_type: str) -> onnx.NodeProto:
    return next(node for node in model_of(body).graph.node if node.op_type == op_type)


def quantized(values: npt.NDArray[Any], zero_point: np.int8 | np.uint8) -> npt.NDArray[Any]:
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    return np.asarray(ReferenceEvaluator(node).run(None, {"x": values, "s": SCALE, "z": np.array(zero_point)})[0])


def dequantized(values: npt.NDArray[Any], zero_point: np.int8 | np.uint8) -> npt.NDArray[Any]:
    node = helper.make_node("DequantizeLinear", ["x", "s", "z"], ["y"])
    return np.asarray(ReferenceEvaluator(node).run(None, {"x": values, "s": SCALE, "z": np.array(zero_point)})[0])


def rounded(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Through a pair, if it is of floating point."""
    zero_point = np.int8(0)
    return dequantized(quantized(values, zero_point), zero_point) if values.dtype == np.float32 else values


def samples(spread: float = 20.0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(5).normal(scale=spread, size=SHAPE).astype(np.float32)


def equal(ours: Arrays, theirs: Arrays) -> bool:
    return len(ours) == len(theirs) > 0 and all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("zero_point", [np.int8(0), np.uint8(77)])
@pytest.mark.parametrize("op_type", ACCEPTED)
def test_an_operator_that_commutes_gives_the_same_integers_on_either_side_of_a_pair(
    op_type: str, zero_point: np.int8 | np.uint8
) -> None:
    body, x = ACCEPTED[op_type], samples()
    assert commutes_with_rounding(node_of(body, op_type))
    in_float, in_integers = model_of(body), model_of(body, zero_point.dtype.name)
    integers = quantized(x, zero_point)
    assert equal([quantized(y, zero_point) for y in run(in_float, x)], run(in_integers, integers))
    values = [dequantized(y, zero_point) for y in run(in_integers, integers)]
    assert equal(values, run(in_float, dequantized(integers, zero_point)))


def test_a_padded_max_pool_commutes() -> None:
    """The reference implementation has no padded MaxPool of integers: through pairs in floating point."""
    body = "y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)"
    assert commutes_with_rounding(node_of(body, "MaxPool"))
    assert equal([rounded(y) for y in run(model_of(body), samples())], run(model_of(body), rounded(samples())))


@pytest.mark.parametrize("case", REFUSED)
def test_an_operator_that_does_not_commute_gives_other_values(case: str) -> None:
    body = REFUSED[case]
    assert not commutes_with_rounding(node_of(body, case.split(",")[0].split(" ")[0]))
    before = run(model_of(body), rounded(samples(0.7)))
    behind = [rounded(y) for y in run(model_of(body), samples(0.7))]
    assert not equal(before, behind)


def test_padding_with_integer_zeros_is_not_padding_with_zeros() -> None:
    body = "p = Constant <value_ints = [0, 0, 1, 1, 0, 0, 1, 1]> ()  y = Pad (x, p)"
    assert not commutes_with_rounding(node_of(body, "Pad"))
    zero_point = np.uint8(77)
    theirs = run(model_of(body, "uint8"), quantized(samples(), zero_point))
    assert not equal([quantized(y, zero_point) for y in run(model_of(body), samples())], theirs)


def test_a_cast_to_a_wider_type_rounds_other_quotients() -> None:
    assert not commutes_with_rounding(helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT))
    half = np.random.default_rng(2).normal(scale=20, size=4096).astype(np.float16)
    scale, quantize = np.float16(0.37), helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    narrow, wide = (
        ReferenceEvaluator(quantize).run(None, {"x": half.astype(own), "s": own(scale), "z": np.array(np.int8(0))})[0]
        for own in (np.float16, np.float32)
    )
    assert not np.array_equal(narrow, wide)


def test_an_operator_of_another_library_is_not_taken_for_onnxs() -> None:
    ours = helper.make_node("Split", ["x"], ["y", "z"], domain="ai.onnx")
    foreign = helper.make_node("Split", ["x"], ["y", "z"], domain="com.example")
    assert is_default_domain(ours) and commutes_with_rounding(ours) and parts_a_tensor(ours)
    assert not (is_default_domain(foreign) or commutes_with_rounding(foreign) or parts_a_tensor(foreign))
    assert clip_bounds(helper.make_node("Relu", ["x"], ["y"], domain="com.example"), {}) is None


@pytest.mark.parametrize("op_type", ACCEPTED)
def test_an_operator_that_rearranges_a_tensor_keeps_its_range(op_type: str) -> None:
    """And of those that commute, the ones that part it are all that may give a smaller range, MaxPool's floor apart."""
    outputs = run(model_of(ACCEPTED[op_type]), samples())
    assert parts_a_tensor(node_of(ACCEPTED[op_type], op_type)) == (op_type in PARTING)
    if op_type in REARRANGING:
        assert (outputs[0].min(), outputs[0].max()) == (samples().min(), samples().max())
    elif op_type in PARTING:
        assert any((y.min(), y.max()) != (samples().min(), samples().max()) for y in outputs)


def test_every_operator_of_the_sets_is_tested() -> None:
    assert REARRANGING | PARTING | {"MaxPool", "Resize"} == set(ACCEPTED)
    assert REARRANGING | PARTING < MOVING


def test_a_resize_is_nearest_by_default() -> None:
    assert is_nearest_resize(helper.make_node("Resize", ["x", "", "s"], ["y"]))
    assert not is_nearest_resize(helper.make_node("Upsample", ["x", "s"], ["y"], mode="nearest"))


ORDER = [2, 0, 3, 1]
WEIGHTS: dict[str, tuple[onnx.NodeProto, tuple[int, ...], tuple[int, ...], int]] = {
    # node, shape of x, shape of w, axis of the output's channels
    "Conv": (helper.make_node("Conv", ["x", "w"], ["y"]), (1, 3, 5, 5), (4, 3, 2, 2), 1),
    "Conv of 1 dimension": (helper.make_node("Conv", ["x", "w"], ["y"]), (1, 3, 9), (4, 3, 2), 1),
    "ConvTranspose": (helper.make_node("ConvTranspose", ["x", "w"], ["y"]), (1, 3, 5, 5), (3, 4, 2, 2), 1),
    "Gemm": (helper.make_node("Gemm", ["x", "w"], ["y"]), (2, 3), (3, 4), 1),
    "Gemm, transA": (helper.make_node("Gemm", ["x", "w"], ["y"], transA=1), (3, 2), (3, 4), 1),
    "Gemm, transB": (helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), (2, 3), (4, 3), 1),
    "MatMul": (helper.make_node("MatMul", ["x", "w"], ["y"]), (5, 2, 3), (3, 4), 2),
    "MatMul of a batch": (helper.make_node("MatMul", ["x", "w"], ["y"]), (5, 2, 3), (5, 3, 4), 2),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_permuting_a_weight_along_its_output_axis_permutes_the_output_channels(case: str) -> None:
    node, of_x, of_w, channels = WEIGHTS[case]
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=of_x).astype(np.float32), rng.normal(size=of_w).astype(np.float32)
    permuted = np.take(w, ORDER, weight_output_axis(node, w.ndim))
    plain, ours = (ReferenceEvaluator(node).run(None, {"x": x, "w": own})[0] for own in (w, permuted))
    np.testing.assert_allclose(ours, np.take(plain, ORDER, channels), rtol=1e-5)
    assert not np.allclose(plain, ours)


@pytest.mark.parametrize(("op_type", "of_w"), [("Conv", (8, 3, 2, 2)), ("ConvTranspose", (6, 4, 2, 2))])
def test_a_grouped_weight_counts_output_channels_along_the_same_axis(op_type: str, of_w: tuple[int, ...]) -> None:
    """A Conv's of all groups, a ConvTranspose's of one: its index j is channel j of every group.

    Computed by onnxruntime: the reference implementation fails on a grouped ConvTranspose.
    """
    node = helper.make_node(op_type, ["x", "w"], ["y"], group=2)
    rng = np.random.default_rng(1)
    x, w = rng.uniform(1, 2, (1, 6, 5, 5)).astype(np.float32), rng.uniform(1, 2, of_w).astype(np.float32)
    scaled = w.copy()
    scaled[(slice(None),) * weight_output_axis(node, 4) + (1,)] *= 2
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xwy"}
    graph = helper.make_graph([node], "g", [values["x"], values["w"]], [values["y"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    plain, ours = (session.run(None, {"x": x, "w": own})[0] for own in (w, scaled))
    factors = ours.mean(axis=(0, 2, 3)) / plain.mean(axis=(0, 2, 3))
    changed = [1] if op_type == "Conv" else [1, 5]
    np.testing.assert_allclose(factors, [2 if channel in changed else 1 for channel in range(8)], rtol=1e-4)


def test_an_operator_without_a_weight_has_no_output_axis() -> None:
    for op_type in WEIGHTED:
        weight_output_axis(helper.make_node(op_type, ["x", "w"], ["y"]), 4)
    with pytest.raises(ValueError, match="Relu has no weight"):
        weight_output_axis(helper.make_node("Relu", ["x"], ["y"]), 4)


@pytest.mark.parametrize("settings", [{}, {"transB": 1}, {"transA": 1}, {"alpha": 0.5}, {"beta": 2.0}, {"alpha": 1.0}])
def test_a_plain_gemm_multiplies_and_adds(settings: dict[str, float]) -> None:
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], **settings)
    x, w, b = np.random.default_rng(0).normal(size=(3, 3, 3)).astype(np.float32)
    plain = x @ (w.T if "transB" in settings else w) + b
    assert np.allclose(ReferenceEvaluator(node).run(None, {"x": x, "w": w, "b": b})[0], plain) == is_plain_product(node)


def bounds(name: str, **constants: onnx.TensorProto) -> tuple[float, float] | None:
    inputs = {"both": ["x", "low", "high"], "low": ["x", "low"], "high": ["x", "", "high"], "none": ["x"]}
    return clip_bounds(helper.make_node("Clip", inputs[name], ["y"]), constants)


def number(*values: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values if len(values) != 1 else values[0], np.float32))


def test_a_clip_cuts_off_at_its_constant_bounds() -> None:
    assert bounds("both", low=number(-1), high=number(6)) == (-1, 6)
    assert bounds("low", low=number(0)) == (0, math.inf)
    assert bounds("high", high=number(6)) == (-math.inf, 6)
    assert bounds("none") == (-math.inf, math.inf)
    assert clip_bounds(helper.make_node("Clip", ["x"], ["y"], min=0.0, max=6.0), {}) == (0, 6)
    assert clip_bounds(helper.make_node("Relu", ["x"], ["y"]), {}) == (0, math.inf)
    assert clip_bounds(helper.make_node("LeakyRelu", ["x"], ["y"]), {}) is None


def test_a_bound_that_is_not_known_is_not_guessed() -> None:
    stripped = onnx.TensorProto(data_type=TensorProto.FLOAT)
    assert bounds("both", low=number(0)) is None  # computed
    assert bounds("low", low=number()) is None
    assert bounds("low", low=number(1, 2)) is None
    assert bounds("low", low=stripped) is None


def test_bounds_in_constant_nodes_are_known() -> None:
    graph = Graph(
        parser.parse_graph(
            """g (float[4] x) => (float[4] y) {
                low = Constant <value_float = 0.0> ()
                high = Constant <value = float {6}> ()
                y = Clip (x, low, high)
            }"""
        )
    )
    assert clip_bounds(graph.nodes[-1], graph.constants) == (0, 6)
    assert never_negative(graph) == {"y"}


def test_what_is_never_negative_is_passed_on_by_operators_that_keep_signs() -> None:
    graph = Graph(
        parser.parse_graph(
            """g (float[4] x, float[4] h) => (float[4] y) <float[4] up = {0, 1, 2, 3}, float[4] down = {0, -1, 2, 3}> {
                a = Relu (x)
                b, c = Split <num_outputs = 2> (a)
                d = Add (a, up)
                e = Add (a, down)
                f = Clip (x, up)
                k = Clip (a, down)
                l = Sub (a, up)
                m = Reshape (x, a)
                y = Mul (a, x)
            }"""
        )
    )
    assert never_negative(graph) == {"a", "b", "c", "d", "k"}


def test_large_constants_are_not_known_to_be_without_negative_values() -> None:
    def added(size: int) -> set[str]:
        nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Add", ["a", "w"], ["y"])]
        weight = numpy_helper.from_array(np.ones(size, np.float32), "w")
        return never_negative(Graph(helper.make_graph(nodes, "g", [], [], [weight])))

    assert added(1024) == {"a", "y"}
    assert added(1025) == {"a"}  # ModelFile.graph_only has no data of it
