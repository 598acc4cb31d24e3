"""Models with operators that onnxruntime does not have: what is computed, calibrated, written and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import quantkit as qk
from quantkit.core.errors import BadModel, NothingEvaluated, TargetRefuses
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import open_model
from quantkit.pipeline.comparison.reference import Reference
from quantkit.runtime.out_of_reach import OutOfReach
from quantkit.runtime.reference import ReferenceSession
from tests.graphs.plugins import detector, images, network
from tests.graphs.small import outputs, weights


def saved(model: onnx.ModelProto, folder: Path, data: np.ndarray) -> tuple[Path, Path]:
    onnx.save(model, folder / "model.onnx")
    np.save(folder / "data.npy", data)
    return folder / "model.onnx", folder / "data.npy"


def without_nms(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same detector, which ends in what the NMS is given."""
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    cut.graph.node.pop()
    del cut.graph.output[:]
    cut.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ("places", "chances"))
    return cut


@pytest.mark.parametrize("domain", ["TRT", ""])
def test_what_lies_in_front_is_calibrated_and_written(tmp_path: Path, domain: str) -> None:
    model = detector(domain)
    calibration = qk.calibrate(*saved(model, tmp_path, images(128)), output=tmp_path / "run")
    (tmp_path / "cut").mkdir()
    expected = qk.calibrate(*saved(without_nms(model), tmp_path / "cut", images(128)))
    assert calibration.ranges == expected.ranges
    written = {
        one.precision: one
        for one in qk.export(calibration, "tensorrt", precisions=["fp16", "int8"], output=tmp_path / "out")
    }
    layers = written["int8"].layers
    assert layers is not None
    assert layers.quantized == layers.total == 3
    for precision, file in (("int8", "model.onnx"), ("int8", "strongly_typed.onnx"), ("fp16", "model.onnx")):
        graph = onnx.load(tmp_path / "out" / "tensorrt" / precision / file).graph
        (nms,) = Graph(graph).of_type("EfficientNMS_TRT")
        assert (nms.domain, list(nms.output)) == (domain, ["count", "boxes", "scores", "classes"])


def test_external_weights(tmp_path: Path) -> None:
    onnx.save(detector(), tmp_path / "model.onnx", save_as_external_data=True, size_threshold=1024, location="weights")
    x = {"x": images(2)}
    assert (tmp_path / "weights").exists()
    found = ReferenceSession(tmp_path / "model.onnx").infer(x)
    for name, exact in zip(("places", "chances"), outputs(without_nms(detector()), x), strict=True):
        np.testing.assert_array_equal(found[name], exact)


def test_layers_behind_stay_in_floating_point(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    constants = {"w1": weights(16, 3, 3, 3), "w2": weights(16, 16, 3, 3)}
    text = """(float[N,3,8,8] x) => (float[N,16,4,4] y) {
      c1 = Conv (x, w1)  r1 = Relu (c1)  p = acme.Blur (r1)  y = Conv (p, w2)
    }"""
    data = np.random.default_rng(0).normal(size=(128, 3, 8, 8)).astype(np.float32)
    calibration = qk.calibrate(*saved(network(text, constants, "acme"), tmp_path, data), output=tmp_path / "run")
    assert "(1 of 2 layers)" in caplog.text
    assert set(calibration.ranges) == {"x", "c1", "r1"}
    written = qk.export(calibration, "tensorrt", precisions=["int8"], output=tmp_path / "out")
    layers = written[0].layers
    assert layers is not None
    assert layers.quantized == 1
    assert "no range was calibrated for p" in layers.describe()


def test_nothing_in_front_is_an_error(tmp_path: Path) -> None:
    text = "(float[N,3,8,8] x) => (float[N,16,6,6] y) { p = acme.Blur (x)  y = Conv (p, w) }"
    files = saved(network(text, {"w": weights(16, 3, 3, 3)}, "acme"), tmp_path, np.zeros((4, 3, 8, 8), np.float32))
    with pytest.raises(BadModel, match=r"does not have acme.Blur \(p\), and no Conv, Gemm or MatMul is in front"):
        qk.calibrate(*files)


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_targets_without_the_operator_refuse(tmp_path: Path, target: str) -> None:
    if target == "openvino":
        pytest.importorskip("openvino")
    calibration = qk.calibrate(*saved(detector(), tmp_path, images(16)), output=tmp_path / "run")
    with pytest.raises(TargetRefuses, match=r"no operator for TRT\.EfficientNMS_TRT"):
        qk.export(calibration, target, output=tmp_path / "out")
    with pytest.raises(NothingEvaluated, match=r"may have TRT\.EfficientNMS_TRT \(--target tensorrt"):
        qk.compare(calibration, tmp_path / "data.npy")


def test_a_simulation_of_what_lies_in_front(tmp_path: Path) -> None:
    model, data = saved(detector(), tmp_path, images(128))
    calibration = qk.calibrate(model, data, output=tmp_path / "run")
    found = qk.sensitivity(calibration, data, target="tensorrt", samples=8)
    assert [layer.kind for layer in found.layers].count("Conv") == 3


@pytest.mark.parametrize(
    ("plugin", "end", "given"),
    [
        ("p = acme.Blur (r1)", "y = Add (c2, p)", {"r1", "c2"}),  # beside the layers, whose sum it goes into
        ("p = acme.Mask (x)", "y = Add (c2, p)", {"c2"}),
        ("p = acme.Anchors ()", "y = Add (c2, p)", {"c2"}),
        ("p = acme.Count (c2)", "y = Identity (c2)", {"c2", "y"}),
        ("p = acme.Count (y)", "y = Relu (c2)", {"y"}),  # which is the output
    ],
)
def test_all_that_is_given_to_what_is_not_computed(tmp_path: Path, plugin: str, end: str, given: set[str]) -> None:
    constants = {"w1": weights(16, 3, 3, 3), "w2": weights(16, 16, 3, 3)}
    text = f"""(float[N,3,8,8] x) => (float[N,16,8,8] y, float[N,16,8,8] p) {{
      {plugin}  {end}  c1 = Conv <pads = [1, 1, 1, 1]> (x, w1)  r1 = Relu (c1)  c2 = Conv <pads = [1, 1, 1, 1]> (r1, w2)
    }}"""
    data = np.random.default_rng(0).normal(size=(16, 3, 8, 8)).astype(np.float32)
    calibration = qk.calibrate(*saved(network(text, constants, "acme"), tmp_path, data), output=tmp_path / "run")
    model = open_model(tmp_path / "model.onnx")
    assert set(ReferenceSession.of(model).infer({"x": data})) == given
    (written,) = qk.export(calibration, "tensorrt", precisions=["int8"], output=tmp_path / "out")
    assert set(ReferenceSession(written.path, optimized=False).infer({"x": data})) == given
    found = qk.sensitivity(calibration, tmp_path / "data.npy", target="tensorrt", samples=4)
    assert [layer.kind for layer in found.layers] == ["Conv", "Conv"]


def test_what_is_given_need_not_have_samples(tmp_path: Path) -> None:
    """A shape and mixed samples are given, too; the only tensor that has samples is not taken for the output."""
    constants = {"w": weights(16, 3, 3, 3), "flat": np.array([-1])}
    text = """(float[8,3,8,8] x) => (float[8,16,6,6] y) {
      c = Conv (x, w)  s = Shape (c)  r = Reshape (c, flat)  y = acme.Top (c, s, r)
    }"""
    data = np.random.default_rng(0).normal(size=(64, 3, 8, 8)).astype(np.float32)
    calibration = qk.calibrate(*saved(network(text, constants, "acme"), tmp_path, data), output=tmp_path / "run")
    found = qk.sensitivity(calibration, tmp_path / "data.npy", target="tensorrt", samples=8)
    assert [layer.kind for layer in found.layers] == ["Conv"]
    reference = Reference.of(open_model(tmp_path / "model.onnx"), [])
    assert "what is given to that" in reference.warnings[0]
    assert list(reference.by_sample(reference.session.infer({"x": data[:8]}), 8, 8)) == ["c"]


def test_operators_inside_subgraphs_and_functions() -> None:
    then = onnx.parser.parse_graph("b () => (float[N,4] t) { t = acme.Blur (x) }")
    other = onnx.parser.parse_graph("b () => (float[N,4] t) { t = Relu (x) }")
    model = network("(float[N,4] x, bool c) => (float[N,4] y, float[N,4] z) { z = Neg (x) }", {}, "acme")
    model.graph.node.append(
        onnx.helper.make_node("If", ["c"], ["y"], name="either", then_branch=then, else_branch=other)
    )
    out = OutOfReach(model)
    assert [node.name for node in out.nodes] == ["either"]
    assert out.operators == ["acme.Blur"]
    assert out.tensors == {"y"}
    assert not OutOfReach(without_nms(detector())).nodes
