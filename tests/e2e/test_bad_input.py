"""Every way to give quantkit something wrong: exit code, a sentence on what, one on how to fix it, and no debris."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from quantkit import load_calibration
from quantkit.core.statistics.files import load_histograms
from tests.conftest import Quantkit, tiny_model, write_images


def check(done: subprocess.CompletedProcess[str], code: int, *words: str, out: Path | None = None) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    error = done.stderr[done.stderr.index("Error:") :]
    for word in words:
        assert word in error
    what, hint = error.strip().split("\n", 1)
    assert what.endswith(".")
    assert hint.strip()
    assert done.stdout == ""
    if out is not None:
        assert not out.exists() or not any(out.iterdir())


@pytest.mark.parametrize("kind", ["absent", "empty", "no images", "text as png"])
def test_data_that_is_none(invoked: Quantkit, model_path: Path, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "data"
    if kind != "absent":
        folder.mkdir()
    if kind == "no images":
        (folder / "notes.txt").write_text("hello")
    if kind == "text as png":
        (folder / "fake.png").write_text("hello")
    words = {
        "absent": ("no file or folder", "--data"),
        "empty": ("is empty",),
        "no images": ("holds no images",),
        "text as png": ("fake.png", "not an image"),
    }[kind]
    check(invoked("calibrate", model_path, "--data", folder, "-o", "out"), 2, *words, out=tmp_path / "out")


def test_too_many_unreadable_images(invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path) -> None:
    (images / "red" / "0.png").write_bytes((images / "red" / "1.png").read_bytes()[:200])
    done = invoked("calibrate", model_path, "--data", images, "-o", "out")
    check(done, 2, "1 of 18", "red/0.png", "5%", out=tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"no onnx", None])
def test_models_that_are_none(
    invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path, content: bytes
) -> None:
    data = model_path.read_bytes()
    model_path.write_bytes(data[: len(data) // 2] if content is None else content)
    done = invoked("calibrate", model_path, "--data", images, "-o", "out")
    check(done, 2, "tiny.onnx", "not an ONNX model", out=tmp_path / "out")


def test_wrong_shape_and_channels(invoked: Quantkit, images: Path, tmp_path: Path) -> None:
    onnx.save(tiny_model(channels=1), tmp_path / "gray.onnx")
    done = invoked("calibrate", "gray.onnx", "--data", images, "-o", "out")
    check(done, 2, "takes 1 channels", "the preset gray (--preprocess", out=tmp_path / "out")
    onnx.save(tiny_model(), tmp_path / "rgb.onnx")
    np.save(tmp_path / "x.npy", np.zeros((4, 3, 8, 8), np.float32))
    done = invoked("calibrate", "rgb.onnx", "--data", "x.npy", "-o", "out")
    check(done, 2, "(3, 8, 8)", "16", out=tmp_path / "out")
    # A model that states no size it can only take: onnxruntime's own words are passed on.
    np.save(tmp_path / "y.npy", np.zeros((4, 3, 1, 1), np.float32))
    model = tiny_model(size="S")
    next(n for n in model.graph.node if n.name == "conv1").attribute[0].ints[:] = [0, 0, 0, 0]
    onnx.save(model, tmp_path / "dynamic.onnx")
    done = invoked("calibrate", "dynamic.onnx", "--data", "y.npy", "-o", "out")
    check(done, 2, "failed on an input of shape", out=tmp_path / "out")


def test_activations_that_are_not_finite(invoked: Quantkit, images: Path, tmp_path: Path) -> None:
    model = tiny_model()
    model.graph.node.append(helper.make_node("Log", ["conv2"], ["log"], name="log"))  # of negative numbers
    model.graph.output.append(helper.make_empty_tensor_value_info("log"))
    bias = next(t for t in model.graph.initializer if t.name == "b2")
    bias.CopyFrom(numpy_helper.from_array(np.full(16, -1000, np.float32), "b2"))
    onnx.save(model, tmp_path / "inf.onnx")
    done = invoked("calibrate", "inf.onnx", "--data", images, "-o", "out")
    check(done, 2, "'log'", "nan", ".png", "--exclude", out=tmp_path / "out")
    assert invoked("calibrate", "inf.onnx", "--data", images, "-o", "ok", "--exclude", "log").returncode == 0
    values = np.zeros((4, 3, 16, 16), np.float32)
    values[2, 0, 0, 0] = np.nan
    np.save(tmp_path / "nan.npy", values)
    onnx.save(tiny_model(), tmp_path / "m.onnx")
    done = invoked("calibrate", "m.onnx", "--data", "nan.npy", "-o", "out")
    check(done, 2, "'input'", "nan", "nan.npy[2]", out=tmp_path / "out")


def test_labels_and_classes_that_do_not_fit(invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path) -> None:
    assert invoked("calibrate", model_path, "--data", images, "-o", "run", "--no-export").returncode == 0
    (images / "extra").mkdir()
    Image.new("RGB", (8, 8)).save(images / "extra" / "a.png")
    check(invoked("compare", "run", "--data", images), 2, "4 classes", "3 outputs", "[data] classes")
    flat = images / "red"
    (flat / "labels.csv").write_text("0.png,2\n1.png,3\n")
    check(invoked("compare", "run", "--data", flat), 2, "label 3", "0 to 2")
    assert not (tmp_path / "run" / "comparison.json").exists()
    (tmp_path / "quantkit.toml").write_text(
        f'[model]\npath = "{model_path}"\n[data]\ncalibration = "{images}"\nevaluation = "{images}"\n'
    )
    check(invoked("run", "-o", "early"), 2, "4 classes", out=tmp_path / "early")


def test_an_output_that_cannot_be_written(invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    check(
        invoked("calibrate", model_path, "--data", images, "-o", "file/out"), 2, "file/out", "cannot be written", "-o"
    )
    check(invoked("calibrate", model_path, "--data", images, "-o", "file"), 2, "file", "cannot be written")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("size", ["12k", "192k"])
def test_a_full_disk(quantkit: Quantkit, model_path: Path, images: Path, tmp_path: Path, size: str) -> None:
    """It fills while the histograms are written, or later, while the artifacts are: what is there is whole."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a small file system here")
    try:
        done = quantkit("calibrate", model_path, "--data", images, "-o", "disk/out")
        assert done.returncode == 2
        assert "is full" in done.stderr
        assert "Traceback" not in done.stderr
        assert not [path for path in disk.rglob(".*") if path.is_file()]
        if size == "12k":
            check(quantkit("inspect", "disk/out"), 2, "not calibrated yet")
        else:
            assert len(load_calibration(disk / "out").tensors) == 10
        for record in disk.rglob("artifact.json"):
            for name in json.loads(record.read_text())["files"]:
                assert (record.parent / name).stat().st_size > 0
        for model in disk.rglob("model.onnx"):
            onnx.checker.check_model(str(model))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_an_unknown_key(invoked: Quantkit, tmp_path: Path) -> None:
    (tmp_path / "quantkit.toml").write_text("[calibrate]\nmetod = 'mse'\n")
    check(invoked("run"), 2, "'calibrate.metod'", "method, percentile")


def test_folders_that_are_no_runs(invoked: Quantkit, images: Path, tmp_path: Path) -> None:
    for verb in ("compare", "gate", "report", "export", "inspect"):
        check(invoked(verb, images), 2, "not a run directory")
        check(invoked(verb, "nowhere"), 2, "nowhere")
        check(invoked(verb), 2, "runs/")


@pytest.mark.parametrize(
    "arguments",
    [
        ("calibrate", "--method", "kl", "--data", ".", "tiny.onnx"),
        ("calibrate", "--preprocess", "nope", "--data", ".", "tiny.onnx"),
        ("calibrate", "--samples", "0"),
        ("calibrate", "--percentile", "101", "--data", ".", "tiny.onnx"),
        ("calibrate",),
        ("calibrate", "tiny.onnx"),
        ("calibrate", "a", "b"),
        ("calibrate", "-c", "none.toml"),
        ("frobnicate",),
    ],
)
def test_usage(invoked: Quantkit, model_path: Path, images: Path, arguments: tuple[str, ...]) -> None:
    if arguments == ("calibrate",):
        model_path.unlink()
    check(invoked(*arguments), 2)


def test_targets_and_precisions_that_are_none(invoked: Quantkit, model_path: Path, images: Path) -> None:
    assert invoked("calibrate", model_path, "--data", images, "-o", "run", "--no-export").returncode == 0
    check(invoked("compare", "run", "--data", images, "--target", "tpu"), 2, "'tpu'", "onnxruntime")
    check(invoked("compare", "run", "--data", images, "--precision", "int4"), 2, "int4")
    check(invoked("compare", "run", "--data", images, "--device", "TPU"), 3, "'TPU'")
    check(invoked("export", "run", "--tensorrt", "latest"), 2, "'latest'")
    check(invoked("gate", "run", "--max-drop", "1"), 2, "not compared yet", "quantkit compare")


def test_a_model_that_changed_since(invoked: Quantkit, model_path: Path, images: Path) -> None:
    assert invoked("calibrate", model_path, "--data", images, "-o", "run", "--no-export").returncode == 0
    onnx.save(tiny_model(opset=14), model_path)
    check(invoked("compare", "run", "--data", images), 2, "tiny.onnx", "has changed")


def test_a_gate_without_a_match_is_5(invoked: Quantkit, model_path: Path, images: Path) -> None:
    assert invoked("calibrate", model_path, "--data", images, "-o", "run", "--no-export").returncode == 0
    done = invoked("compare", "run", "--data", images / "red", "--target", "onnxruntime", "--precision", "int8")
    assert done.returncode == 0, done.stderr
    done = invoked("gate", "run", "--max-drop", "1")  # nothing is labelled
    assert done.returncode == 5
    assert "matched nothing" in done.stderr


SLOWLY = """
import time
from quantkit.cli.main import main
from quantkit.runtime.activations import Runner
original = Runner.run
def slowly(self, inputs):
    time.sleep(0.1)
    return original(self, inputs)
Runner.run = slowly
main()
"""


def test_ctrl_c_is_130_and_the_same_command_goes_on(quantkit: Quantkit, model_path: Path, tmp_path: Path) -> None:
    images = write_images(tmp_path / "imgs", per_class=40)
    command = ["calibrate", model_path, "--data", images, "--samples", "120", "--no-export"]
    process = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, *map(str, command)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    assert process.stderr is not None
    while "Preprocessing" not in (line := process.stderr.readline()):
        assert line, "ended before it began"
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "same command again" in error
    (run,) = (tmp_path / "runs").iterdir()
    assert not (run / "calibration.json").exists()
    check(quantkit("report", run), 2, "not calibrated yet")
    done = quantkit(*command)
    assert done.returncode == 0, done.stderr
    assert "120 samples" in done.stdout
    assert list((tmp_path / "runs").iterdir()) == [run]
    assert quantkit(*command, "-o", "whole", "--fresh").returncode == 0
    resumed, whole = (load_histograms(folder / "histograms.npz") for folder in (run, tmp_path / "whole"))
    for name, histogram in whole.items():
        assert np.array_equal(resumed[name].positive, histogram.positive)
        assert np.array_equal(resumed[name].negative, histogram.negative)
