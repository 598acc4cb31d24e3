"""What a run directory, a file of the user's and a reader of JSON may rely on, command after command."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import quantkit as qk
from quantkit.core.errors import BadInput
from quantkit.pipeline.calibration import result as stage
from tests.conftest import Quantkit, tiny_model, write_images


@pytest.fixture
def run(model_path: Path, images: Path, tmp_path: Path) -> Path:
    """A calibrated run directory."""
    qk.calibrate(model_path, images, output=tmp_path / "run")
    return tmp_path / "run"


def test_options_of_compare_do_not_stick(invoked: Quantkit, run: Path, images: Path, tmp_path: Path) -> None:
    small = ("--samples", "3", "--batch-size", "2", "--target", "onnxruntime", "--precision", "int8", "--seed", "9")
    assert invoked("compare", run, "--data", images, *small, "--preprocess", "raw").returncode == 0
    assert json.loads((run / "comparison.json").read_text())["samples"] == 3
    shown = invoked("compare", run, "--dump-config")
    lines = ("samples = 300", "seed = 0", "batch_sizes = [\n    1,\n]", "targets = []", 'preset = "imagenet-stretch"')
    for line in lines:
        assert line in shown.stdout
    assert f'evaluation = "{images}"' in shown.stdout  # where the images are is worth remembering
    images.rename(tmp_path / "gone")
    assert invoked("calibrate", "--method", "minmax", "-o", run, "--no-export").returncode == 0


def test_labels_are_remembered_with_their_images_alone(
    invoked: Quantkit, run: Path, images: Path, tmp_path: Path
) -> None:
    flat = images / "red"
    (tmp_path / "mine.csv").write_text("".join(f"{file.name},red\n" for file in flat.glob("*.png")))
    common = ("--target", "onnxruntime", "--precision", "int8", "--seconds", "0.1", "--rounds", "1")
    labelled = ("--labels", tmp_path / "mine.csv", "--classes", tmp_path / "classes.txt")
    (tmp_path / "classes.txt").write_text("red\ngreen\nblue\n")
    assert "3 labelled" in invoked("compare", run, "--data", flat, *common, *labelled, "--samples", "3").stdout
    told = f'labels = "{tmp_path / "mine.csv"}"'
    for command in (("compare", run), ("compare", run, "--data", flat)):
        assert told in invoked(*command, "--dump-config").stdout
    assert "labels =" not in invoked("compare", run, "--data", images, "--dump-config").stdout
    own = {"QUANTKIT_LABELS": str(tmp_path / "mine.csv")}
    assert told in invoked("compare", run, "--data", images, "--dump-config", **own).stdout


def test_other_preprocessing_than_the_calibrations_is_warned_about(invoked: Quantkit, run: Path, images: Path) -> None:
    command = ("compare", run, "--data", images, "--target", "onnxruntime", "--precision", "int8")
    assert "preprocessed otherwise" in invoked(*command, "--preprocess", "raw").stderr
    assert "preprocessed otherwise" not in invoked(*command).stderr


def test_an_interrupted_save_never_vouches_for_other_data(
    model_path: Path, images: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_images(tmp_path / "other", per_class=9)

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_manifest", interrupted)
        with pytest.raises(KeyboardInterrupt):
            qk.calibrate(model_path, other, output=run)
    again = qk.calibrate(model_path, images, output=run)
    assert again.samples == 18
    assert again.data.path == str(images)


def test_artifacts_of_other_ranges_do_not_stay(invoked: Quantkit, run: Path, images: Path, tmp_path: Path) -> None:
    assert invoked("export", run).returncode == 0
    model = run / "artifacts" / "onnxruntime" / "int8" / "model.onnx"
    assert model.is_file()
    assert invoked("calibrate", "--method", "minmax", "-o", run, "--no-export").returncode == 0
    assert not model.exists()
    assert (run / "methods/mse-robust/artifacts/onnxruntime/int8/model.onnx").is_file()
    assert invoked("export", run).returncode == 0
    half = run / "artifacts" / "onnxruntime" / "fp16" / "model.onnx"
    assert model.is_file()
    assert half.is_file()
    onnx.save(tiny_model(opset=14), tmp_path / "tiny.onnx")
    assert invoked("calibrate", "tiny.onnx", "--data", images, "-o", run, "--no-export").returncode == 0
    assert not model.exists()
    assert not half.exists()
    assert not (run / "methods").exists()  # which were of another model


def test_folders_and_files_of_the_users_are_left_alone(
    invoked: Quantkit, model_path: Path, images: Path, run: Path, tmp_path: Path
) -> None:
    (tmp_path / "quantkit.toml").write_text("# mine\n")
    for folder in (tmp_path, images):
        done = invoked("calibrate", model_path, "--data", images, "-o", folder)
        assert done.returncode == 2
        assert "not quantkit's" in done.stderr
    assert (tmp_path / "quantkit.toml").read_text() == "# mine\n"
    mine = tmp_path / "ex" / "onnxruntime" / "int8" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    done = invoked("export", run, "--target", "onnxruntime", "--precision", "int8", "-o", "ex")
    assert done.returncode == 2
    assert "mine.txt" in done.stderr
    assert mine.read_text() == "mine"


def test_gate_needs_comparison_json_alone(invoked: Quantkit, run: Path, images: Path, tmp_path: Path) -> None:
    done = invoked("gate", run, "--min-agreement", "1")
    assert done.returncode == 2
    assert "not compared yet" in done.stderr
    command = ("compare", run, "--data", images, "--target", "onnxruntime", "--precision", "int8")
    assert invoked(*command).returncode == 0
    (tmp_path / "alone").mkdir()
    shutil.copy(run / "comparison.json", tmp_path / "alone")
    for subject in ("alone", "alone/comparison.json"):
        assert invoked("gate", subject, "--min-agreement", "1").returncode == 0
    assert [path.name for path in (tmp_path / "alone").iterdir()] == ["comparison.json"]
    for option, value in (("--max-drop", "10"), ("--min-agreement", "101"), ("--max-drop", "-1")):
        done = invoked("gate", run, option, value)
        assert done.returncode == 2
        assert option in done.stderr


def test_a_pipe_is_written_into_not_replaced(invoked: Quantkit, run: Path, images: Path, tmp_path: Path) -> None:
    invoked("compare", run, "--data", images, "--target", "onnxruntime", "--precision", "int8")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()), daemon=True)
    reader.start()
    assert invoked("gate", run, "--min-agreement", "1", "--junit", pipe).returncode == 0
    reader.join(timeout=20)
    assert received[0].startswith("<?xml")
    assert pipe.is_fifo()


def test_json_is_json_to_the_letter(quantkit: Quantkit, invoked: Quantkit, images: Path, tmp_path: Path) -> None:
    model = tiny_model()
    for node in model.graph.node:
        node.input[:] = ["a:cat:[b]" if name == "relu1" else name for name in node.input]
        node.output[:] = ["a:cat:[b]" if name == "relu1" else name for name in node.output]
    onnx.save(model, tmp_path / "m.onnx")
    done = quantkit(
        "calibrate", "m.onnx", "--data", images, "-o", "out", "--json", "--exclude", "conv*", "--exclude", "fc"
    )
    assert "a:cat:[b]" in json.loads(done.stdout)["tensors"]
    for verb in (("export", "out"), ("inspect", "out"), ("inspect", "m.onnx"), ("report", "out"), ("doctor",)):
        assert json.loads(invoked(*verb, "--json").stdout)
    (tmp_path / "g.toml").write_text('[[gate]]\nmetric = "sqnr_db"\nmin = 1\nprecision = "*"\n')
    compared = quantkit("compare", "out", "--data", images, "--target", "onnxruntime", "--json")
    assert json.loads(compared.stdout)["rows"]

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(invoked("gate", "out", "--gates", "g.toml", "--json").stdout, parse_constant=refuse)


def test_what_matches_nothing_is_said(invoked: Quantkit, model_path: Path, images: Path, run: Path) -> None:
    shutil.copy(images / "red" / "0.png", images / "red" / "copy.png")
    done = invoked("calibrate", model_path, "--data", images, "-o", "out", "--exclude", "typo*", "--no-export")
    assert "exclude matches no node or tensor: typo*." in done.stderr
    assert "1 of 19 images are copies of others" in done.stderr
    done = invoked("calibrate", "-o", "out", "--exclude", "nix*", "--no-export")  # reads no image
    assert "exclude matches no node or tensor: nix*." in done.stderr
    done = invoked("export", run, "--target", "tensorrt", "--precision", "fp32")
    assert done.returncode == 2
    assert "no fp32 artifact for tensorrt" in done.stderr


def saved(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


def test_labels_are_checked_where_the_model_hides_its_classes(invoked: Quantkit, images: Path, tmp_path: Path) -> None:
    model = tiny_model()
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "classes"
    saved(model, tmp_path / "m.onnx")
    assert invoked("calibrate", "m.onnx", "--data", images, "-o", "run", "--no-export").returncode == 0
    shutil.copytree(images / "red", images / "zebra")
    for data, words in ((images, "4 classes"), (images / "red", "label 7")):
        (images / "red" / "labels.csv").write_text("0.png,7\n")
        done = invoked("compare", "run", "--data", data, "--target", "onnxruntime")
        assert done.returncode == 2
        assert words in done.stderr


def test_an_output_without_a_batch_dimension_is_compared_whole(images: Path, tmp_path: Path) -> None:
    plain, squeezed = tiny_model(batch=1), tiny_model(batch=1)
    last = squeezed.graph.node[-1]
    last.output[0] = "rows"
    squeezed.graph.initializer.append(numpy_helper.from_array(np.array([3]), "flat_shape"))
    squeezed.graph.node.append(helper.make_node("Reshape", ["rows", "flat_shape"], ["logits"], name="squeeze"))
    del squeezed.graph.output[:]
    squeezed.graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, [3]))
    figures = []
    for name, model in (("plain", plain), ("squeezed", squeezed)):
        calibration = qk.calibrate(saved(model, tmp_path / f"{name}.onnx"), images)
        comparison = qk.compare(calibration, images, targets=["onnxruntime"], precisions=["fp16"])
        figures.append((comparison.rows[1].sqnr_db, comparison.rows[1].agreement, comparison.rows[1].metrics))
    assert figures[0][0] == pytest.approx(figures[1][0], abs=2)  # one more rounding
    assert figures[0][1:] == figures[1][1:]
    assert figures[0][2]


def test_a_batch_that_is_dynamic_in_name_only_is_evaluated(images: Path, tmp_path: Path) -> None:
    model = tiny_model()
    flatten = next(node for node in model.graph.node if node.name == "flat")
    flatten.op_type = "Reshape"
    flatten.input.append("one_row")
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 16]), "one_row"))
    calibration = qk.calibrate(saved(model, tmp_path / "m.onnx"), images)
    assert qk.compare(calibration, images, targets=["onnxruntime"]).samples == 18
    with pytest.raises(BadInput, match="fixed inside"):
        qk.compare(calibration, images, targets=["onnxruntime"], batch_sizes=[4])


def test_a_fixed_batch_takes_its_widths_from_the_first_samples_alone(images: Path, tmp_path: Path) -> None:
    free = qk.calibrate(saved(tiny_model(), tmp_path / "free.onnx"), images, samples=16)
    fixed = qk.calibrate(saved(tiny_model(batch=8), tmp_path / "fixed.onnx"), images, samples=16)
    for name, histogram in free.histograms.items():
        assert fixed.histograms[name].width == pytest.approx(histogram.width, rel=1e-5)


@pytest.mark.parametrize("target", ["onnxruntime", "tensorrt"])
def test_constants_named_like_ours_are_kept_apart(images: Path, tmp_path: Path, target: str) -> None:
    def model(name: str) -> onnx.ModelProto:
        proto = tiny_model()
        proto.graph.initializer.append(numpy_helper.from_array(np.full((1, 16, 1, 1), 3, np.float32), name))
        at = next(i for i, node in enumerate(proto.graph.node) if node.name == "conv2")
        proto.graph.node.insert(at, helper.make_node("Mul", ["relu1", name], ["scaled"], name="mul"))
        proto.graph.node[at + 1].input[0] = "scaled"
        return proto

    import onnxruntime as ort

    x = np.random.default_rng(0).standard_normal((4, 3, 16, 16)).astype(np.float32)
    outputs = []
    for name in ("innocent", "relu1_scale", "scaled_zero_point"):
        calibration = qk.calibrate(saved(model(name), tmp_path / f"{name}.onnx"), images)
        (artifact,) = qk.export(calibration, target=target, output=tmp_path / name)
        outputs.append(ort.InferenceSession(str(artifact.path)).run(None, {"input": x})[0])
    assert np.allclose(outputs[0], outputs[1], atol=1e-5)
    assert np.allclose(outputs[0], outputs[2], atol=1e-5)
