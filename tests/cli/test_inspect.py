"""What inspect tells of models and of runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.conftest import Quantkit, tiny_model

INNER_WEIGHTS = 3 * 2 * 5 * 5


def with_constant_nodes() -> onnx.ModelProto:
    """The tiny model with all its weights in Constant nodes."""
    model = tiny_model()
    held = [helper.make_node("Constant", [], [t.name], value=t) for t in model.graph.initializer]
    nodes = [*held, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def with_weights_in_a_branch() -> onnx.ModelProto:
    """The tiny model, and an If behind it with a Conv's weights in one branch."""
    model = tiny_model()
    weight = numpy_helper.from_array(np.ones((3, 2, 5, 5), np.float32), "inner")
    then = helper.make_graph(
        [helper.make_node("ReduceSum", ["inner"], ["p"], keepdims=0)],
        "then",
        [],
        [helper.make_tensor_value_info("p", 1, [])],
        [weight],
    )
    otherwise = helper.make_graph(
        [helper.make_node("ReduceSum", ["logits"], ["r"], keepdims=0)],
        "else",
        [],
        [helper.make_tensor_value_info("r", 1, [])],
    )
    model.graph.node.append(helper.make_node("If", ["yes"], ["z"], then_branch=then, else_branch=otherwise))
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.output.append(helper.make_tensor_value_info("z", 1, []))
    return model


@pytest.mark.parametrize(
    ("make", "more"), [(tiny_model, 0), (with_constant_nodes, 0), (with_weights_in_a_branch, INNER_WEIGHTS + 1)]
)
def test_parameters_are_counted_wherever_they_are(
    invoked: Quantkit, tmp_path: Path, make: Callable[[], onnx.ModelProto], more: int
) -> None:
    onnx.save(make(), tmp_path / "m.onnx")
    expected = sum(int(np.prod(t.dims)) for t in tiny_model().graph.initializer) + more
    assert json.loads(invoked("inspect", "m.onnx", "--json").stdout)["parameters"] == expected
    assert f"{expected:,} parameters" in invoked("inspect", "m.onnx").stdout


def unsorted_nodes(model: onnx.ModelProto) -> None:
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def old_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 9


def weights_behind_identity(model: onnx.ModelProto) -> None:
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    model.graph.node.insert(0, helper.make_node("Identity", [conv.input[1]], ["moved"]))
    conv.input[1] = "moved"


@pytest.mark.parametrize(
    ("change", "said"),
    [(unsorted_nodes, "nodes sorted"), (old_opset, "opset 9 upgraded"), (weights_behind_identity, "constants folded")],
)
def test_what_was_rewritten_on_opening_is_said(
    invoked: Quantkit, tmp_path: Path, change: Callable[[onnx.ModelProto], None], said: str
) -> None:
    model = tiny_model(opset=13)
    change(model)
    onnx.save(model, tmp_path / "m.onnx")
    assert said in " ".join(json.loads(invoked("inspect", "m.onnx", "--json").stdout)["rewritten"])
    shown = " ".join(invoked("inspect", "m.onnx").stdout.split())
    assert "Rewritten on opening:" in shown
    assert said in shown


def test_a_model_in_normal_form_says_nothing_of_it(invoked: Quantkit, model_path: Path) -> None:
    document = json.loads(invoked("inspect", model_path, "--json").stdout)
    assert (document["rewritten"], document["quantized"]) == ([], None)
    assert "Rewritten" not in invoked("inspect", model_path).stdout


def test_layers_of_a_run_and_what_to_do_with_its_quantized_model(
    invoked: Quantkit, tmp_path: Path, model_path: Path, images: Path
) -> None:
    done = invoked("calibrate", model_path, "--data", images, "--exclude", "conv2", "-o", "run", "--json")
    artifacts = {(a["target"], a["precision"]): a["layers"] for a in json.loads(done.stdout)["artifacts"]}
    own = artifacts["onnxruntime", "int8"]
    assert own["quantized"] == own["total"] - len(own["left"])
    assert artifacts["onnxruntime", "fp32"] is None
    records = {record["target"]: record for record in json.loads(invoked("inspect", "run", "--json").stdout)["layers"]}
    assert {key: records["onnxruntime"][key] for key in own} == own
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    shown = " ".join(invoked("inspect", "run").stdout.split())
    for target in records:
        line = f"{records[target]['quantized']} of {records[target]['total']} layers in INT8"
        assert line in shown
        assert line in report
    assert all(name in report for name in own["left"])

    int8 = "run/artifacts/tensorrt/int8/model.onnx"
    shown = " ".join(invoked("inspect", int8).stdout.split())
    assert "Quantized already:" in shown
    assert "symmetric, as TensorRT runs it" in shown
    assert f"quantkit convert {int8} --to json --model" in shown
    document = json.loads(invoked("inspect", int8, "--json").stdout)
    assert document["quantized"]["pairs"] > 0
    for verb in (
        ["calibrate", int8, "--data", images, "-o", "other"],
        ["convert", int8, "--to", "json", "--model", int8, "-o", "x"],
    ):
        refused = invoked(*verb)
        assert refused.returncode == 2
        assert "is quantized already" in refused.stderr
        assert "quantkit convert" in " ".join(refused.stderr.split())
    read = invoked("convert", int8, "--to", "json", "--model", model_path, "-o", "read")
    assert read.returncode == 0, read.stderr
