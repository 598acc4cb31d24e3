"""The network of the report: its layers, its figures, and when it is drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from quantkit.api import calibrate
from quantkit.core.artifact import Artifact
from quantkit.core.comparison import LayerTime
from quantkit.core.files import sha256_of
from quantkit.core.layers import Layers
from quantkit.pipeline import report as stage
from quantkit.pipeline.report import own_network
from quantkit.reports.content.graph import blocks_of, network_json, network_of
from quantkit.reports.content.layer_errors import layer_entries, series_of
from quantkit.reports.content.tensors import tensor_entries
from quantkit.reports.html import html_report
from tests.reports.builders import HOSTILE, Page, calibration, comparison, reference_row, row
from tests.reports.test_culprits import layer, sensitivity
from tests.reports.test_layer_errors import errors


def model(name: str = "block") -> onnx.ModelProto:
    """x -> Conv -> Relu -> (Conv, Add) -> y, with a constant that nodes compute."""
    weight = numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name=f"{name}/conv1"),
        helper.make_node("Relu", ["a"], ["t0"], name=f"{name}/relu1"),
        helper.make_node("Neg", ["w"], ["v"], name=f"{name}/neg"),
        helper.make_node("Conv", ["t0", "v"], ["t1"], name=f"{name}/conv2"),
        helper.make_node("Add", ["t0", "t1"], ["t2"], name=f"{name}/add"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, ["N", 2, 4, 4])], [value("t2", TensorProto.FLOAT, None)], [weight]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_layers_have_their_activations_and_constants_are_none() -> None:
    found = network_of(model())
    assert [(own.name, own.kind, own.weighted) for own in found.layers] == [
        ("x", "Input", False),
        ("block/conv1", "Conv + Relu", True),
        ("block/conv2", "Conv", False),  # its weight is computed
        ("block/add", "Add", False),
    ]
    assert set(found.edges) == {(0, 1), (1, 2), (1, 3), (2, 3)}
    assert found.layers[1].shape == "N × 2 × 4 × 4"


def test_an_activation_whose_input_others_read_is_a_layer_of_its_own() -> None:
    both = model()
    both.graph.node[4].input[1] = "a"
    found = network_of(both)
    assert [own.kind for own in found.layers] == ["Input", "Conv", "Relu", "Conv", "Add"]


def test_shapes_are_not_drawn_and_one_of_several_outputs_is_not_the_layer() -> None:
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b"], name="split", axis=1),
        helper.make_node("Sigmoid", ["a"], ["c"], name="sigmoid"),
        helper.make_node("Shape", ["b"], ["s"], name="shape"),
        helper.make_node("Reshape", ["c", "s"], ["d"], name="reshape"),
        helper.make_node("Mul", ["d", "b"], ["t2"], name="mul"),
    ]
    own = model()
    del own.graph.node[:]
    own.graph.node.extend(nodes)
    found = network_of(own)
    assert [layer.kind for layer in found.layers] == ["Input", "Split", "Sigmoid + Reshape", "Mul"]
    assert set(found.edges) == {(0, 1), (1, 2), (2, 3), (1, 3)}


def test_colours_tell_error_sensitivity_time_and_precision() -> None:
    times = (
        LayerTime(name="block/conv1 + block/relu1", ms=0.5, precision="int8"),
        LayerTime(name="block/add", ms=0.25, precision="f32"),
        LayerTime(name="reorder", ms=9.0, precision="f32"),
    )
    compared = comparison(reference_row(), row(layer_errors=errors(30.0, -300.0, None), layers=times))
    series = series_of(compared.rows)
    entries = layer_entries(series, tensor_entries(calibration()))
    own = Artifact("openvino", "int8", (Path("model.xml"),), layers=Layers(2, {"block/conv1": "too small"}))
    losses = sensitivity(layer("t1", only=20.0, place=1))
    told = network_json(network_of(model()), entries, series, compared, losses, [own])
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    colours = {colour["title"].split(":")[0]: colour for colour in told["colours"]}
    assert colours["SQNR on openvino"]["values"] == [None, 30.0, "not finite", "∞"]
    assert colours["Sensitivity"]["values"][2] == 20.0
    assert colours["Time"]["values"] == [None, 0.5, None, 0.25]
    assert colours["Precision as computed"]["values"] == [None, "INT8", None, "FP32"]
    assert colours["Precision of weighted layers"]["values"] == [None, "floating point", None, None]
    for _, _, _, entry in told["layers"][1:]:
        assert entries[entry].tensor in ("t0", "t1", "t2")


@settings(max_examples=40)
@given(st.lists(st.text("ab/.", max_size=9), min_size=1, max_size=80), st.integers(8, 20))
def test_blocks_hold_every_layer_once_and_are_few(names: list[str], most: int) -> None:
    found = blocks_of(names, most)
    assert sorted(number for _, own in found for number in own) == list(range(len(names)))
    assert len(found) <= most


def test_blocks_are_the_parts_that_names_speak_of() -> None:
    names = [f"/layer{i // 40}/block{i // 4}/conv{i}" for i in range(400)]
    found = blocks_of(names)
    assert len(found) == 100
    assert found[0] == ["layer0/block0", [0, 1, 2, 3]]
    assert blocks_of(["node"] * 400)[0][0] == "layers 1 to 4"


def test_hostile_names_end_in_the_page_as_text() -> None:
    for name in HOSTILE:
        page = html_report(None, comparison(), None, network=network_of(model(name)))
        shown = Page(page)
        assert json.loads(shown.scripts[0])["network"]["layers"][1][0].startswith(name[:3])
        assert page.count("<script") == 4  # the data, and three of our own


def test_the_page_has_the_library_only_with_a_network() -> None:
    assert "dagre" not in html_report(calibration(), comparison(), None)
    missing = html_report(calibration(), comparison(), None, network_missing="It is gone.")
    assert "It is gone." in Page(missing).words
    assert "dagre" not in missing


def test_the_model_must_be_the_one_that_was_calibrated(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(model(), path)
    calibrated = calibration()
    known = calibrated.model_copy(
        update={"model": calibrated.model.model_copy(update={"path": str(path), "sha256": sha256_of(path)})}
    )
    found, missing = own_network(known)
    assert found is not None and not missing
    assert [own.name for own in found.layers] == [own.name for own in network_of(model()).layers]
    onnx.save(model("another"), path)
    drawn, missing = own_network(known)
    assert drawn is None and "is no longer the model that was calibrated" in missing
    path.unlink()
    assert "cannot be read" in own_network(known)[1]


def test_a_report_has_it_if_it_is_small_or_if_it_is_asked_for(
    model_path: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrate(model_path, images, output=tmp_path / "run")

    def page(graph: bool | None) -> str:
        return stage.write_report(tmp_path / "run", tmp_path / "report.html", graph=graph).read_text("utf-8")

    assert "network-view" in page(None)
    assert "network-view" not in page(False) and "The network" not in page(False)
    monkeypatch.setattr(stage, "MOST_WITH_GRAPH", 1000)
    assert "network-view" not in page(None) and "quantkit report --graph" in page(None)
    assert "network-view" in page(True)
