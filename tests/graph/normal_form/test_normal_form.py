"""Models that are rewritten when they are opened: what they compute stays, and their layers become quantizable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.errors import BadModel
from quantkit.graph.normal_form.sorting import is_sorted
from tests.graphs.small import calibrated, integer_weights, network, opened, outputs, quantized, weights

X = np.random.default_rng(0).normal(0, 1, (40, 16, 6, 6)).astype(np.float32)
TWO_CONVS = """(float[N,16,6,6] x) => (float[N,16,6,6] y) {
    a = Conv<pads=[1,1,1,1]>(x, w)
    r = Relu(a)
    y = Conv<pads=[1,1,1,1]>(r, v)
}"""


def two_convs() -> onnx.ModelProto:
    return network(TWO_CONVS, {"w": weights(16, 16, 3, 3), "v": weights(16, 16, 3, 3)})


def test_a_model_in_normal_form_is_not_copied(tmp_path: Path) -> None:
    model = opened(two_convs(), tmp_path)
    assert model.rewritten is None
    assert model.source == model.path


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_nodes_in_any_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    model = two_convs()
    nodes = [model.graph.node[i] for i in order]
    unsorted = onnx.ModelProto()
    unsorted.CopyFrom(model)
    del unsorted.graph.node[:]
    unsorted.graph.node.extend(nodes)
    assert not is_sorted(unsorted.graph)
    made = quantized(calibrated(unsorted, {"x": X}, tmp_path)).proto
    onnx.checker.check_model(made, full_check=True)
    assert len(integer_weights(made)) == 2


def test_what_a_subgraph_reads_comes_before_its_node(tmp_path: Path) -> None:
    text = """(float[N,4] x) => (float[N,4] z) {
        z = If(yes) <then_branch = a () => (float[N,4] p) { p = Neg(r) },
                     else_branch = b () => (float[N,4] q) { q = Abs(r) }>
        r = Relu(x)
    }"""
    model = network(text, {"yes": np.array(True)})
    file = opened(model, tmp_path)
    assert [node.op_type for node in file.graph_only.graph.node] == ["Relu", "If"]
    onnx.checker.check_model(file.load(), full_check=True)


def test_nodes_in_a_circle_are_refused(tmp_path: Path) -> None:
    model = network("(float[N,4] x) => (float[N,4] y) { a = Add(x, b)  b = Relu(a)  y = Neg(b) }")
    with pytest.raises(BadModel, match=r"circle|cycle"):
        opened(model, tmp_path)


FUNCTIONS = """<ir_version: 8, opset_import: ["": 17, "own": 1]>
g (float[N,16,6,6] x) => (float[N,16,6,6] y) { y = own.block(x, w) }
<domain: "own", opset_import: ["": 17]> block (a, k) => (b) { c = Conv<pads=[1,1,1,1]>(a, k)  b = Relu(c) }
"""
NESTED = """<ir_version: 8, opset_import: ["": 17, "own": 1]>
g (float[N,16,6,6] x) => (float[N,16,6,6] y) { z = own.twice(x, w)  y = Conv<pads=[1,1,1,1]>(z, w) }
<domain: "own", opset_import: ["": 17, "own": 1]> twice (a, k) => (b) { c = own.block(a, k)  b = own.block(c, k) }
<domain: "own", opset_import: ["": 17]> block (a, k) => (b) { c = Conv<pads=[1,1,1,1]>(a, k)  b = Relu(c) }
"""
OLDER = FUNCTIONS.replace('"": 17]> block', '"": 15]> block')


@pytest.mark.parametrize(("text", "layers"), [(FUNCTIONS, 1), (NESTED, 3), (OLDER, 1)])
def test_local_functions_are_seen_into(tmp_path: Path, text: str, layers: int) -> None:
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(weights(16, 16, 3, 3), "w"))
    calibration = calibrated(model, {"x": X}, tmp_path)
    assert quantized(calibration).layers.quantized == layers
    file = opened(model, tmp_path)
    assert not file.load().functions
    assert np.allclose(outputs(model, {"x": X})[0], outputs(file.load(), {"x": X})[0], atol=1e-5)


HIDDEN = {
    "behind Identity": "k = Identity(w)",
    "behind Transpose": "k = Transpose<perm=[1,0,2,3]>(w)",
    "behind Cast": "h = Cast<to=10>(w)  k = Cast<to=1>(h)",
    "scaled": "k = Mul(w, two)",
    "normalized": "n = ReduceL2<axes=[1,2,3], keepdims=1>(w)  k = Div(w, n)",
    "stored as integers": "k = DequantizeLinear(q, s)",
    "put together": "p = Slice(w, zero, eight)  t = Slice(w, eight, sixteen)  k = Concat<axis=0>(p, t)",
}


@pytest.mark.parametrize("how", HIDDEN)
def test_weights_that_are_computed_from_constants(tmp_path: Path, how: str) -> None:
    text = f"""(float[N,16,6,6] x) => (float[N,16,6,6] y) {{
        {HIDDEN[how]}
        y = Conv<pads=[1,1,1,1]>(x, k)
    }}"""
    constants = {
        "w": weights(16, 16, 3, 3), "two": 2.0, "q": RNG.integers(-99, 99, (16, 16, 3, 3)).astype(np.int8), "s": 0.001,
        "zero": np.array([0]), "eight": np.array([8]), "sixteen": np.array([16]),
    }  # fmt: skip
    model = network(text, {name: own for name, own in constants.items() if f"{name}" in text})
    calibration = calibrated(model, {"x": X}, tmp_path)
    for dialect in ("onnxruntime", "tensorrt"):
        made = quantized(calibration, dialect)
        assert made.layers.quantized == 1, made.layers.describe()
    assert np.allclose(outputs(model, {"x": X})[0], outputs(opened(model, tmp_path).load(), {"x": X})[0], atol=1e-5)


RNG = np.random.default_rng(1)
HALF, DOUBLE = TensorProto.FLOAT16, TensorProto.DOUBLE


def in_type(kind: int, ports: bool, mixed: bool = False) -> onnx.ModelProto:
    """Two Convs in another type: as the type of the whole model, or between two Casts."""
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
    values = [numpy_helper.from_array(weights(16, 16, 3, 3).astype(dtype), name) for name in "wv"]
    port = kind if ports else TensorProto.FLOAT
    nodes = [
        helper.make_node("Conv", ["a", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "v"], ["b"], pads=[1] * 4),
    ]
    if ports:
        nodes[0].input[0], nodes[-1].output[0] = "x", "y"
    else:
        nodes.insert(0, helper.make_node("Cast", ["x"], ["a"], to=kind))
        nodes.append(helper.make_node("Cast", ["b"], ["y"], to=TensorProto.FLOAT))
    if mixed:
        nodes.insert(2, helper.make_node("Cast", ["c"], ["wide"], to=TensorProto.FLOAT))
        nodes[3] = helper.make_node("Relu", ["wide"], ["rw"])
        nodes.insert(4, helper.make_node("Cast", ["rw"], ["r"], to=kind))
    graph = helper.make_graph(
        nodes,
        "typed",
        [helper.make_tensor_value_info("x", port, ["N", 16, 6, 6])],
        [helper.make_tensor_value_info("y", port, ["N", 16, 6, 6])],
        values,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("kind", [HALF, DOUBLE])
@pytest.mark.parametrize(("ports", "mixed"), [(True, False), (False, False), (False, True)])
def test_models_of_other_float_types_are_quantized(tmp_path: Path, kind: int, ports: bool, mixed: bool) -> None:
    model = in_type(kind, ports, mixed)
    feed = {"x": X.astype(helper.tensor_dtype_to_np_dtype(kind)) if ports else X}
    calibration = calibrated(model, feed, tmp_path)
    for dialect in ("onnxruntime", "tensorrt"):
        made = quantized(calibration, dialect)
        assert made.layers.quantized == 2, made.layers.describe()
        onnx.checker.check_model(made.proto, full_check=True)
        exact = outputs(opened(model, tmp_path).load(), feed)[0]  # onnxruntime has no FP64 Conv
        found = outputs(made.proto, feed, optimized=dialect == "onnxruntime")[0]
        assert exact.dtype == found.dtype
        error = np.abs(exact.astype(np.float64) - found).max()
        assert error < 0.1 * np.abs(exact).max()


def test_a_double_beyond_fp32_is_refused(tmp_path: Path) -> None:
    model = in_type(DOUBLE, ports=True)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full((16, 16, 3, 3), 1e300), "w"))
    with pytest.raises(BadModel, match="beyond FP32"):
        opened(model, tmp_path)


@pytest.mark.parametrize("opset", [7, 9, 10])
def test_an_old_opset_is_upgraded(tmp_path: Path, opset: int) -> None:
    model = network("(float[N,4] x) => (float[N,4] y) { a = Relu(x)  y = MatMul(a, w) }", {"w": np.eye(4)}, opset)
    file = opened(model, tmp_path)
    assert file.opset >= 11
    assert file.rewritten is not None
    assert file.rewritten.done == (f"opset {opset} upgraded to 13",)
    x = {"x": X[:, :4, 0, 0]}
    assert np.array_equal(outputs(model, x)[0], outputs(file.load(), x)[0])


@pytest.mark.parametrize("opset", [18, 21, 23, 25, onnx.defs.onnx_opset_version()])
def test_every_newer_opset(tmp_path: Path, opset: int) -> None:
    model = two_convs()
    model.opset_import[0].version = opset
    model.ir_version = 10
    try:
        outputs(model, {"x": X})
    except Exception:  # noqa: BLE001  (an older onnxruntime)
        pytest.skip(f"this onnxruntime does not read opset {opset}")
    calibration = calibrated(model, {"x": X}, tmp_path)
    for dialect in ("onnxruntime", "tensorrt"):
        made = quantized(calibration, dialect)
        assert made.layers.quantized == 2
        assert outputs(made.proto, {"x": X})[0].shape == X.shape
