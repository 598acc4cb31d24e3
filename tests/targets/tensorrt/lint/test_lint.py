"""The linter on real models, on ours, on damaged ones; every rule has a case and is documented."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from quantkit.core.errors import BadInput
from quantkit.graph.model_file import open_model
from quantkit.targets.onnxruntime.qdq import quantized_for_onnxruntime
from quantkit.targets.tensorrt.lint import lint
from quantkit.targets.tensorrt.lint.finding import RULES
from quantkit.targets.tensorrt.lint.read import read_quantized
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from quantkit.targets.tensorrt.qdq.strongly_typed import quantized_half_precision
from tests.graphs.lint import CASES, places, sound, values
from tests.graphs.lint.builder import Builder, findings
from tests.graphs.quantized import ranges_of


@pytest.mark.parametrize("name", CASES)
def test_a_graph_breaks_these_rules_and_no_others(name: str) -> None:
    build, expected = CASES[name]
    assert findings(build) == expected


def test_no_two_cases_have_one_name() -> None:
    assert len(CASES) == len(sound.CASES) + len(values.CASES) + len(places.CASES)


def test_every_rule_has_its_case() -> None:
    assert {rule for _, found in CASES.values() for rule, _ in found} == set(RULES)


def test_every_rule_is_documented() -> None:
    page = Path(__file__).resolve().parents[4] / "docs" / "tensorrt-qdq.md"
    if not page.exists():
        pytest.skip("the docs are not here")
    sections = page.read_text(encoding="utf-8").split("\n## ")
    for rule, (severity, _) in RULES.items():
        (section,) = (text for text in sections if f"`{rule}`" in text)
        assert section.lower().startswith(severity), rule


def test_a_finding_says_what_is_wrong_and_how_to_mend_it(tiny: tuple) -> None:
    for finding in lint(quantized_for_onnxruntime(*tiny).proto):
        assert finding.what.endswith(".")
        assert finding.hint.endswith(".")
        assert finding.nodes


def test_our_own_models_have_no_errors(tiny: tuple) -> None:
    quantized = quantized_for_tensorrt(*tiny).proto
    for model in (quantized, quantized_half_precision(quantized).proto):
        assert {f.rule for f in lint(model)} <= {"few-channels", "newer-opset"}


def test_the_onnxruntime_dialect_is_told_apart(tiny: tuple) -> None:
    found = lint(quantized_for_onnxruntime(*tiny).proto)
    rules = {f.rule for f in found}
    assert {"zero-point-not-zero", "type-not-int8", "quantized-bias", "pair-on-fused-branch"} <= rules
    (add,) = (f for f in found if f.rule == "pair-on-fused-branch")
    assert add.nodes == ("add", "conv2")


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet20"])
def test_real_models_have_no_errors(name: str, shared: Path) -> None:
    model = open_model(shared / "models" / f"{name}_cifar10.onnx")
    size = model.inputs[0].shape[2]
    x = np.random.default_rng(0).standard_normal((1, 3, size, size)).astype(np.float32)
    found = lint(quantized_for_tensorrt(model, ranges_of(model, {model.inputs[0].name: x})).proto)
    assert [f for f in found if f.severity == "error"] == []


def test_a_model_without_pairs_is_bad_input(model_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no QuantizeLinear"):
        lint(read_quantized(model_path))


def test_scales_in_an_external_file_are_read(tmp_path: Path) -> None:
    graph = Builder()
    graph.outputs.append(str(values.a_dead_channel(graph)))
    onnx.save(graph.model(), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    assert {f.rule for f in lint(read_quantized(tmp_path / "m.onnx"))} == {"scale-not-positive"}
    (tmp_path / "m.data").unlink()
    with pytest.raises(BadInput, match="missing"):
        read_quantized(tmp_path / "m.onnx")


def test_scales_outside_the_folder_are_not_read(tmp_path: Path) -> None:
    graph = Builder()
    graph.outputs.append(str(sound.chain(graph)))
    (tmp_path / "in").mkdir()
    onnx.save(
        graph.model(), tmp_path / "in" / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0
    )
    model = onnx.load(tmp_path / "in" / "m.onnx", load_external_data=False)
    (tmp_path / "in" / "m.data").rename(tmp_path / "m.data")
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../m.data" if entry.key == "location" else entry.value
    (tmp_path / "in" / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadInput, match="outside"):
        read_quantized(tmp_path / "in" / "m.onnx")


def test_damaged_models_are_bad_input_or_linted(tiny: tuple, tmp_path: Path) -> None:
    """Bytes turned over and nodes rewired, loops among them: never a traceback, and never for ever."""
    quantized = quantized_for_onnxruntime(*tiny).proto
    rng = np.random.default_rng(0)
    whole = np.frombuffer(quantized.SerializeToString(), np.uint8)
    for _ in range(150):
        model = onnx.ModelProto.FromString(whole.tobytes())
        names = [name for node in model.graph.node for name in (*node.input, *node.output)]
        for node in rng.choice(np.array(model.graph.node, object), 4):
            if len(node.input):
                node.input[rng.integers(len(node.input))] = str(rng.choice(names))
            if rng.random() < 0.3:
                del node.input[rng.integers(len(node.input) + 1) :]
            if rng.random() < 0.2:
                node.op_type = str(rng.choice(["MaxPool", "Add", "DequantizeLinear", "Softmax", "Concat"]))
            if rng.random() < 0.1:
                del node.output[:]
        for tensor in rng.choice(np.array(model.graph.initializer, object), 1):
            tensor.raw_data = tensor.raw_data[: rng.integers(len(tensor.raw_data) + 1)]
        try_lint(model.SerializeToString(), tmp_path / "m.onnx")
        bytes_ = whole.copy()
        bytes_[rng.integers(len(whole), size=5)] = rng.integers(256, size=5)
        try_lint(bytes_.tobytes(), tmp_path / "m.onnx")


def test_activations_in_a_circle_are_gone_round_once() -> None:
    graph = Builder()
    graph.outputs.append(str(places.a_depthwise_conv_at_the_end(graph)))
    model = graph.model()
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    model.graph.node.append(onnx.helper.make_node("Tanh", list(relu.output), list(relu.input)))
    assert "depthwise-to-float" in {f.rule for f in lint(model)}


def try_lint(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    try:
        lint(read_quantized(path))
    except BadInput as error:
        assert error.hint
