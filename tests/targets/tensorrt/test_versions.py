"""``export --tensorrt VERSION`` writes what that version reads, and refuses what it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

import quantkit as qk
from quantkit.core.artifact import Artifact
from quantkit.core.errors import BadConfig, TargetRefuses
from quantkit.graph.model_file import opset_of
from quantkit.targets.tensorrt.opsets import newest_opset
from tests.conftest import tiny_model
from tests.graphs.refused import SHAPE, conv, newer, saved_in

DATA = np.random.default_rng(1).standard_normal((4, *SHAPE[1:])).astype(np.float32)


def exported(model: onnx.ModelProto, folder: Path, version: str | None, precision: str = "int8") -> Artifact:
    """Calibrate a model, and export it for a version of TensorRT."""
    onnx.save(model, folder / "model.onnx")
    calibration = qk.calibrate(folder / "model.onnx", DATA, output=folder / "run")
    (artifact,) = qk.export(calibration, "tensorrt", precisions=precision, tensorrt=version)
    return artifact


def opset(file: Path) -> int:
    return opset_of(onnx.load(file))


def answers(file: Path) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return np.asarray(ort.InferenceSession(str(file), options).run(["y"], {"x": DATA[:1]})[0])


def names(artifact: Artifact) -> set[str]:
    return {file.name for file in artifact.files}


def test_releases_read_what_their_documentation_says() -> None:
    known = {(8, 4): 13, (8, 5): 17, (8, 6): 17, (9, 2): 19, (10, 0): 20, (10, 14): 20, (10, 15): 24, (11, 5): 25}
    assert {release: newest_opset(release) for release in known} == known


def test_without_a_version_everything_is_written(tmp_path: Path) -> None:
    made = exported(tiny_model_of_floats(), tmp_path, None)
    assert names(made) == {"model.onnx", "strongly_typed.onnx", "calibration.cache", "dynamic_ranges.txt"}
    assert (tmp_path / "run/artifacts/tensorrt/int8/calibration.cache").read_text().startswith("TRT-8600-")


def test_11_gets_no_cache(tmp_path: Path) -> None:
    made = exported(tiny_model_of_floats(), tmp_path, "11.0")
    assert names(made) == {"model.onnx", "strongly_typed.onnx"}
    assert any("TensorRT 11.0 has no implicit INT8" in note for note in made.notes)


def test_8_6_gets_nothing_strongly_typed(tmp_path: Path) -> None:
    made = exported(tiny_model_of_floats(), tmp_path, "8.6.1")
    assert names(made) == {"model.onnx", "calibration.cache", "dynamic_ranges.txt"}
    assert any("TensorRT 8.6.1 has no strongly typed networks" in note for note in made.notes)
    assert (tmp_path / "run/artifacts/tensorrt/int8/calibration.cache").read_text().startswith("TRT-8601-")


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_a_newer_opset_is_converted_to_an_equal_model(tmp_path: Path, precision: str) -> None:
    """A mean whose axes are an input, an even Split that counts its outputs, and a Pad, none of which 17 has."""
    pads = helper.make_node("Constant", [], ["pads"], name="pads", value_ints=[0, 0, 0, 0, 0, 0, 0, 0])
    nodes = [
        conv(),
        helper.make_node("ReduceMean", ["c", "axes"], ["m"], name="mean"),
        helper.make_node("Add", ["c", "m"], ["s"], name="add"),
        helper.make_node("Split", ["s"], ["a", "b"], name="split", axis=3, num_outputs=2),
        helper.make_node("Concat", ["b", "a"], ["j"], name="join", axis=3),
        pads,
        helper.make_node("Pad", ["j", "pads"], ["y"], name="pad"),
    ]
    made = exported(saved_in(22, nodes), tmp_path, "8.6", precision)
    assert opset(tmp_path / "model.onnx") == 22  # the user's own file stays
    assert {opset(file) for file in made.files if file.suffix == ".onnx"} == {17}
    assert any("Opset 22 was converted to 17 for TensorRT 8.6." in note for note in made.notes)
    if precision == "int8":
        converted = next(file for file in made.files if file.name == "fp32.onnx")
        np.testing.assert_array_equal(answers(converted), answers(tmp_path / "model.onnx"))
        assert np.abs(answers(made.path) - answers(converted)).max() < 0.2


def test_an_operator_that_the_opset_lacks_is_refused(tmp_path: Path) -> None:
    model = saved_in(20, [conv(), helper.make_node("Gelu", ["c"], ["y"], name="gelu")])
    with pytest.raises(TargetRefuses, match=r"TensorRT 8\.6 reads up to opset 17.* has 20.*\(Gelu\)") as refusal:
        exported(model, tmp_path, "8.6")
    assert refusal.value.hint == "Export it with opset 17 or older."
    assert opset(exported(model, tmp_path, "10.3").path) == 20


def test_another_meaning_of_a_newer_opset_is_refused(tmp_path: Path) -> None:
    """Pad wraps since opset 19, which an older one would not notice."""
    pads = helper.make_node("Constant", [], ["pads"], name="pads", value_ints=[0, 0, 1, 1, 0, 0, -1, -1])
    model = saved_in(19, [conv(), pads, helper.make_node("Pad", ["c", "pads"], ["y"], name="pad", mode="wrap")])
    with pytest.raises(TargetRefuses, match=r"\(Pad\)"):
        exported(model, tmp_path, "8.6")


def test_what_is_no_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="not a TensorRT version"):
        exported(newer(17 + 1), tmp_path, "eight")


def tiny_model_of_floats() -> onnx.ModelProto:
    return tiny_model(size=8)
