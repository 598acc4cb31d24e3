"""What export says of its own files: which layers are in INT8, and that the files work."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import quantkit as qk
from quantkit.core.artifact import Artifact
from quantkit.core.errors import TargetRefuses
from quantkit.graph.model_file import open_model
from quantkit.pipeline.run_files import SAMPLE_FILE, load_calibration
from quantkit.pipeline.self_check import SelfCheck, check_onnx
from quantkit.targets.onnxruntime.target import OnnxRuntime
from tests.conftest import Quantkit
from tests.graphs.small import calibrated, network, weights

RNG = np.random.default_rng(4)
X = {"x": RNG.normal(0, 1, (40, 16)).astype(np.float32)}
TEXT = "(float[N,16] x) => (float[N,24] y) { a = MatMul(x, w)  r = Relu(a)  b = MatMul(r, v)  y = MatMul(b, s) }"
CONSTANTS = {"w": weights(16, 24), "v": weights(24, 8), "s": weights(8, 24)}


def test_layers_in_int8_are_counted_with_the_reasons_of_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calibration = calibrated(network(TEXT, CONSTANTS), X, tmp_path, exclude=["v*", "b"], output=tmp_path / "run")
    with caplog.at_level(logging.INFO, "quantkit"):
        artifacts = qk.export(calibration, ["onnxruntime", "tensorrt"])
    for artifact in artifacts:
        assert artifact.layers is not None
        assert (artifact.layers.total, artifact.layers.quantized) == (3, 1)
        assert sorted(artifact.layers.left.values())[0] == "excluded"
        record = json.loads((artifact.path.parent / "artifact.json").read_text())
        assert record["layers"]["left"] == dict(artifact.layers.left)
    assert "int8 for onnxruntime: 1 of 3 layers in INT8; in floating point: " in caplog.text
    assert qk.export(calibration, "onnxruntime")[0].layers == artifacts[0].layers  # the files are used again


@pytest.mark.parametrize(
    ("text", "constants"),
    [
        ("(float[N,16] x) => (float[N,4] y) { y = MatMul(x, k) }", {"k": weights(16, 4)}),
        ("(float[N,16] x) => (float[N,16] y) { y = Mul(x, x) }", {}),
        (
            """(float[N,16] x) => (float[N,24] y) {
                y = If(yes) <then_branch = a () => (float[N,24] p) { p = MatMul(x, w) },
                             else_branch = b () => (float[N,24] q) { q = MatMul(x, w) }>
            }""",
            {"w": weights(16, 24), "yes": np.array(True)},
        ),
    ],
)
def test_nothing_in_int8_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, constants: dict[str, object]
) -> None:
    calibration = calibrated(network(text, constants), X, tmp_path, output=tmp_path / "run")
    with caplog.at_level(logging.WARNING, "quantkit"):
        (artifact,) = qk.export(calibration, "onnxruntime")
    assert artifact.layers is not None
    assert artifact.layers.quantized == 0
    assert ("NOTHING IS QUANTIZED" in caplog.text) == (artifact.layers.total > 0)


def test_a_model_of_integers_alone_is_exported_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = network("(int64[N,4] x) => (int64[N,4] y) { y = Add(x, x) }")
    with caplog.at_level(logging.WARNING, "quantkit"):
        calibration = calibrated(model, {"x": np.arange(12).reshape(3, 4)}, tmp_path, output=tmp_path / "run")
    assert "NOTHING CAN BE QUANTIZED" in caplog.text
    (artifact,) = qk.export(calibration, "onnxruntime")
    onnx.checker.check_model(str(artifact.path))
    assert load_calibration(tmp_path / "run").tensors == {}


def test_a_file_that_does_not_load_is_refused_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that no runtime knows stands for every fault of a transform."""
    from quantkit.graph import save

    calibration = calibrated(network(TEXT, CONSTANTS), X, tmp_path, output=tmp_path / "run")
    whole = save.save_model

    def broken(proto: onnx.ModelProto, folder: Path, name: str = save.MODEL_FILE) -> None:
        proto.graph.node[0].op_type = "NoSuchOperator"
        whole(proto, folder, name)

    monkeypatch.setattr(save, "save_model", broken)
    with pytest.raises(TargetRefuses, match=r"not valid ONNX|do not work"):
        qk.export(calibration, "onnxruntime")
    assert not list((tmp_path / "run").rglob("int8/model.onnx"))


def test_noise_on_the_first_sample_is_a_warning(tmp_path: Path) -> None:
    calibration = calibrated(network(TEXT, CONSTANTS), X, tmp_path, output=tmp_path / "run")
    coarse = {
        name: own.model_copy(update={"amax": own.amax * 500, "low": own.low * 500, "high": own.high * 500})
        for name, own in calibration.tensors.items()
    }
    without = calibration.collected.__class__({}, {}, {})  # as imported ranges have no histograms to foresee it by
    changed = calibration.model_copy(update={"tensors": coarse, "collected": without})
    (artifact,) = qk.export(changed, "onnxruntime", output=tmp_path / "out")
    assert any("On the first calibration sample, the output 'y' is" in note for note in artifact.notes)
    (fine,) = qk.export(calibration, "onnxruntime")
    assert not any("first calibration sample" in note for note in fine.notes)


def test_the_first_sample_is_kept_with_the_run(tmp_path: Path) -> None:
    calibration = calibrated(network(TEXT, CONSTANTS), X, tmp_path, output=tmp_path / "run")
    kept = np.load(tmp_path / "run" / SAMPLE_FILE)
    assert kept["x"].shape == (1, 16)
    assert any(np.array_equal(kept["x"][0], row) for row in X["x"])
    assert SAMPLE_FILE in calibration.files


def test_a_model_that_onnx_itself_refuses_is_not_checked_for_what_it_lacks(tmp_path: Path) -> None:
    model = network(TEXT, CONSTANTS)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(TargetRefuses, match="not valid ONNX"):
        check_onnx(tmp_path / "m.onnx")
    file = open_model(tmp_path / "m.onnx")
    artifact = qk.export(calibrated(model, X, tmp_path, output=tmp_path / "run"), "onnxruntime")[0]
    assert SelfCheck(file, None).warnings(OnnxRuntime(), artifact) == ()


def test_json_tells_the_layers(tmp_path: Path, invoked: Quantkit) -> None:
    calibrated(network(TEXT, CONSTANTS), X, tmp_path, output=tmp_path / "run")
    done = invoked("export", str(tmp_path / "run"), "--target", "onnxruntime", "--precision", "int8", "--json")
    (artifact,) = json.loads(done.stdout)["artifacts"]
    assert artifact["layers"]["total"] == 3
    assert artifact["layers"]["quantized"] == 3 - len(artifact["layers"]["left"])


BRANCHES = {
    "both, of the same names": """{ y = If(yes) <then_branch = a () => (float[N,24] p) { p = MatMul(x, w) },
                             else_branch = b () => (float[N,24] p) { p = MatMul(x, w) }> }""",
    "and one outside": """{ o = MatMul(x, m)  y = If(yes) <then_branch = a () => (float[N,24] p) { p = MatMul(o, w) },
                             else_branch = b () => (float[N,24] q) { q = MatMul(x, w) }> }""",
}


@pytest.mark.parametrize(("which", "inside", "outside"), [("both, of the same names", 2, 0), ("and one outside", 2, 1)])
@pytest.mark.parametrize("target", ["onnxruntime", "openvino", "tensorrt"])
def test_layers_in_branches_are_counted_for_every_target(
    tmp_path: Path, which: str, inside: int, outside: int, target: str
) -> None:
    if target == "openvino":
        pytest.importorskip("openvino")
    text = f"(float[N,16] x, bool yes) => (float[N,24] y) {BRANCHES[which]}"
    constants = {"w": weights(16, 24), "m": weights(16, 16)}
    feeds = X | {"yes": np.array(True)}
    calibration = calibrated(network(text, constants), feeds, tmp_path, output=tmp_path / "run")
    layers = qk.export(calibration, target, precisions=["int8"])[0].layers
    assert layers is not None
    assert (layers.total, layers.quantized) == (inside + outside, outside)
    assert list(layers.left.values()) == ["inside a subgraph (If)"] * inside


@pytest.mark.parametrize(
    ("precision", "factor", "said"),
    [
        ("int8", np.nan, "holds NaN or Inf, or noise where FP32 is zero: measure it"),
        ("fp16", np.inf, "holds NaN or Inf, or noise where FP32 is zero: fp16 does not hold this model's values"),
        ("fp16", 2.0, "is 0.0 dB from FP32: fp16 does not hold this model's values"),
    ],
)
def test_far_outputs_are_told_in_words(tmp_path: Path, precision: str, factor: float, said: str) -> None:
    """An artifact that computes something else says how far it is, without a stand-in for what is not finite."""
    onnx.save(network(TEXT, CONSTANTS), tmp_path / "m.onnx")
    onnx.save(network(TEXT, {**CONSTANTS, "s": CONSTANTS["s"] * np.float32(factor)}), tmp_path / "other.onnx")
    artifact = Artifact("onnxruntime", precision, (tmp_path / "other.onnx",))
    check = SelfCheck(open_model(tmp_path / "m.onnx"), {"x": X["x"][:1]})
    (sentence,) = check.warnings(OnnxRuntime(), artifact)
    assert said in sentence


@pytest.mark.openvino
def test_layers_have_the_models_own_names(tmp_path: Path) -> None:
    """OpenVINO's frontend calls a layer with a bias by a name of its own."""
    pytest.importorskip("openvino")
    text = "(float[N,16] x) => (float[N,8] y) { a = Gemm(x, w, b)  y = Gemm(a, v, c) }"
    model = network(text, {"w": weights(16, 24), "b": weights(24, 1)[:, 0], "v": weights(24, 8), "c": np.ones(8)})
    for node in model.graph.node:
        node.name = f"/layer/{node.output[0]}"
    (artifact,) = qk.export(calibrated(model, X, tmp_path), "openvino", precisions=("int8",), output=tmp_path / "out")
    assert artifact.layers is not None
    assert list(artifact.layers.left) == ["/layer/y"]


def test_an_output_that_is_a_sequence_is_passed_over(tmp_path: Path) -> None:
    ports = "(float[N,16] x) => (float[N,24] y, seq(float[N,8]) z)"
    text = f"{ports} {{ y = MatMul(x, w) z = SplitToSequence<axis=1>(y, k) }}"
    model = network(text, {"w": weights(16, 24), "k": np.array(8)})
    (artifact,) = qk.export(calibrated(model, X, tmp_path), "onnxruntime", precisions=["int8"], output=tmp_path)
    assert not any("first calibration sample" in note for note in artifact.notes)


def test_files_that_are_used_again_are_told_of_by_export_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calibration = calibrated(network(TEXT, CONSTANTS), X, tmp_path, output=tmp_path / "run")

    def told(action: Callable[[], object]) -> bool:
        caplog.clear()
        with caplog.at_level(logging.INFO, "quantkit"):
            action()
        return "layers in INT8" in caplog.text

    def compare() -> object:
        return qk.compare(calibration, tmp_path / "data.npz", targets=["onnxruntime"], precisions=["int8"])

    assert told(compare)  # it writes them
    assert not told(compare)
    assert told(lambda: qk.export(calibration, "onnxruntime"))
