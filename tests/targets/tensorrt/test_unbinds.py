"""Splits into single parts, which TensorRT 8.6 misreads, are Gathers in its files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort
import pytest

import quantkit as qk
from quantkit.core.artifact import Artifact
from quantkit.targets.tensorrt.handoff import FLOAT_FILE
from quantkit.targets.tensorrt.unbinds import gathers_for_unbinds
from tests.graphs.vision_transformer import transformer_model

X = np.random.default_rng(5).standard_normal((2, 3, 4)).astype(np.float32)


SQUEEZES = "y0 = Squeeze (a, one) y1 = Squeeze (b, one) y2 = Squeeze (c, one)"
OLD_SQUEEZES = "y0 = Squeeze <axes = [1]> (a) y1 = Squeeze <axes = [1]> (b) y2 = Squeeze <axes = [1]> (c)"  # before 13
CONSTANTS = "one = Constant <value_ints = [1]> () ones = Constant <value_ints = [1, 1, 1]> ()"
FROM_BACK = "one = Constant <value_ints = [-2]> ()"


def cut(body: str, opset: int = 17, outputs: str = "float[2, 4] y0, float[2, 4] y1, float[2, 4] y2") -> onnx.ModelProto:
    """A model that takes x [2, 3, 4] apart."""
    text = f'<ir_version: 8, opset_import: ["": {opset}]> cut (float[2, 3, 4] x) => ({outputs}) {{ {body} }}'
    model = onnx.parser.parse_model(text)
    for node in model.graph.node:
        node.name = f"node_{node.output[0]}"
    onnx.checker.check_model(model, full_check=True)
    return model


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def answers(model: onnx.ModelProto, x: np.ndarray = X) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(found) for found in session.run(None, {session.get_inputs()[0].name: x})]


@pytest.mark.parametrize(
    "model",
    [
        cut(f"{CONSTANTS} a, b, c = Split <axis = 1> (x) {SQUEEZES}"),
        cut(f"{CONSTANTS} a, b, c = Split <axis = 1> (x, ones) {SQUEEZES}"),
        cut(f"{CONSTANTS} a, b, c = Split <axis = 1, num_outputs = 3> (x) {SQUEEZES}", opset=18),
        cut(f"{FROM_BACK} a, b, c = Split <axis = -2> (x) {SQUEEZES}"),
        cut(f"a, b, c = Split <axis = 1> (x) {OLD_SQUEEZES}", opset=11),
        cut(f"a, b, c = Split <axis = 1, split = [1, 1, 1]> (x) {OLD_SQUEEZES}", opset=11),
    ],
    ids=["even", "sizes", "counted", "from the back", "opset 11", "opset 11, sizes"],
)
def test_each_part_is_a_gather_with_the_same_values(model: onnx.ModelProto) -> None:
    expected = answers(model)
    assert gathers_for_unbinds(model.graph)
    onnx.checker.check_model(model, full_check=True)
    found = operators(model)
    assert (found["Split"], found["Squeeze"], found["Gather"]) == (0, 0, 3)
    assert [node.name for node in model.graph.node if node.op_type == "Gather"] == ["node_y0", "node_y1", "node_y2"]
    for one, other in zip(expected, answers(model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_index_of_a_part_and_a_reshape_are_read_by_gathers_too() -> None:
    body = """
        first = Constant <value_int = 0> () flat = Constant <value_ints = [2, 2, 2]> ()
        a, b, c = Split <axis = 1> (x, ones)
        y0 = Gather <axis = 1> (a, first) y1 = Reshape (b, flat) y2 = Squeeze (b, one)
    """
    model = cut(f"{CONSTANTS} {body}", outputs="float[2, 4] y0, float[2, 2, 2] y1, float[2, 4] y2")
    expected = answers(model)
    assert gathers_for_unbinds(model.graph)
    onnx.checker.check_model(model, full_check=True)
    found = operators(model)
    assert (found["Split"], found["Squeeze"], found["Gather"], found["Reshape"]) == (0, 0, 3, 1)
    for one, other in zip(expected, answers(model), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        (f"a, b, c = Split <axis = 1> (x) {SQUEEZES} z = Relu (a)", "float[2, 4] y0, float[2, 1, 4] z"),
        (f"a, b, c = Split <axis = 1> (x) {SQUEEZES}", "float[2, 4] y0, float[2, 1, 4] a"),
        ("a, b = Split <axis = 0> (x) y0 = Relu (a) y1 = Relu (b)", "float[1, 3, 4] y0, float[1, 3, 4] y1"),
        (
            "halves = Constant <value_ints = [1, 2]> () a, b = Split <axis = 1> (x, halves) y0 = Squeeze (a, one)",
            "float[2, 4] y0",
        ),
        ("a, b = Split <axis = 2> (x) c, d, e = Split <axis = 1> (a) y0 = Squeeze (c)", "float[2, 2] y0"),
        (
            "flat = Constant <value_ints = [12]> () a, b = Split <axis = 0> (x) y0 = Reshape (a, flat)",
            "float[12] y0",
        ),
        (
            "zero = Constant <value_int = 0> () a, b = Split <axis = 2> (x) "
            "y0 = Gather <axis = 2> (a, zero) y1 = Gather <axis = 2> (b, zero)",
            "float[2, 3] y0, float[2, 3] y1",
        ),
        (
            "a, b = Split <axis = 1, num_outputs = 2> (x) y0 = Squeeze (b, one)",
            "float[2, 4] y0",
        ),
        (
            "first = Constant <value_ints = [0]> () a, b, c = Split <axis = 1> (x, ones) "
            "y0 = Gather <axis = 1> (a, first)",
            "float[2, 1, 4] y0",
        ),
    ],
    ids=[
        "a part is read as it is",
        "a part is an output",
        "nothing is squeezed",
        "a larger part",
        "no axes",
        "sizes that are not said",
        "an index of larger parts",
        "a smaller last part",
        "an index with an axis",
    ],
)
def test_other_splits_stay(body: str, outputs: str) -> None:
    model = cut(f"{CONSTANTS} {body}", 18 if "num_outputs" in body else 17, outputs)
    before = model.SerializeToString()
    assert not gathers_for_unbinds(model.graph)
    assert model.SerializeToString() == before


def test_constants_that_are_inputs_too_are_not_asked_for() -> None:
    model = cut(f"{CONSTANTS} a, b, c = Split <axis = 1> (x) {SQUEEZES}")
    del model.graph.node[:2]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, np.int64), "one"))
    model.graph.input.append(onnx.helper.make_tensor_value_info("one", onnx.TensorProto.INT64, [1]))
    expected = answers(model)
    assert gathers_for_unbinds(model.graph)
    assert [value.name for value in model.graph.input] == ["x"]
    for one, other in zip(expected, answers(model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_part_that_a_subgraph_reads_keeps_its_split() -> None:
    body = "yes = Constant <value = bool {1}> () a, b, c = Split <axis = 1> (x) y0 = Squeeze (a, one)"
    branch = "() => (float[2, 1, 4] inner) { inner = Identity (b) }"
    text = f"{CONSTANTS} {body} z = If (yes) <then_branch = g {branch}, else_branch = h {branch}>"
    assert not gathers_for_unbinds(cut(text, outputs="float[2, 4] y0, float[2, 1, 4] z").graph)


def exported(folder: Path, version: str | None, precision: str = "int8") -> Artifact:
    onnx.save(transformer_model(1, unbound=True), folder / "model.onnx")
    data = np.random.default_rng(0).standard_normal((8, 3, 16, 16)).astype(np.float32)
    calibration = qk.calibrate(folder / "model.onnx", data, output=folder / "run")
    (artifact,) = qk.export(calibration, "tensorrt", precisions=precision, tensorrt=version)
    return artifact


@pytest.mark.parametrize("version", [None, "8.6"])
def test_files_for_8_6_have_gathers_and_fp32_beside_them(version: str | None, tmp_path: Path) -> None:
    made = exported(tmp_path, version)
    own = onnx.load(tmp_path / "model.onnx")
    assert operators(own)["Split"] == 1
    files = {file.name: onnx.load(file) for file in made.files if file.suffix == ".onnx"}
    assert files.keys() == {"model.onnx", FLOAT_FILE} | ({"strongly_typed.onnx"} if version is None else set())
    for file in files.values():
        assert (operators(file)["Split"], operators(file)["Gather"]) == (0, 3)
    x = np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)
    np.testing.assert_array_equal(answers(files[FLOAT_FILE], x)[0], answers(own, x)[0])
    assert any("wrongly at batch 1" in note for note in made.notes)
    lines = (tmp_path / "run/artifacts/tensorrt/COMMANDS.md").read_text()
    assert "--onnx=int8/fp32.onnx --fp16" in lines
    assert "the FP32 model that was calibrated" not in lines


def test_fp16_alone_is_built_from_fp32_beside_it(tmp_path: Path) -> None:
    made = exported(tmp_path, "8.6", "fp16")
    assert {file.name for file in made.files} == {"model.onnx", FLOAT_FILE}
    assert made.path.name == "model.onnx"
    assert any("wrongly at batch 1" in note for note in made.notes)
    lines = (tmp_path / "run/artifacts/tensorrt/COMMANDS.md").read_text()
    assert "--onnx=fp16/fp32.onnx --fp16" in lines
    assert "--loadEngine=fp16.engine" in lines
    assert "int8.engine" not in lines


def test_files_for_10_are_as_the_model_is(tmp_path: Path) -> None:
    made = exported(tmp_path, "10.3")
    assert operators(onnx.load(made.path))["Split"] == 1
    assert FLOAT_FILE not in {file.name for file in made.files}
    assert not any("wrongly at batch 1" in note for note in made.notes)
