"""``COMMANDS.md``, ``commands.json`` and ``config.pbtxt``: what whoever deploys a run's files is handed."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest

import quantkit as qk
from quantkit.core.files import sha256_of
from tests.conftest import Quantkit, tiny_model


@pytest.fixture
def run(images: Path, tmp_path: Path) -> Path:
    """A run of a model whose path the shell would take apart, with its artifacts and batches of 1 and 4."""
    folder = tmp_path / "it's a model"
    folder.mkdir()
    onnx.save(tiny_model(), folder / "tiny $net.onnx")
    qk.calibrate(folder / "tiny $net.onnx", images, samples=6, output=tmp_path / "run")
    return tmp_path / "run"


def document(run: Path, target: str) -> dict[str, Any]:
    found = json.loads((run / "artifacts" / target / "commands.json").read_text())
    assert isinstance(found, dict)
    return found


def trtexec(found: dict[str, Any]) -> dict[str, list[str]]:
    """The words of each line of trtexec, by its heading."""
    every = {own["purpose"]: shlex.split(line) for own in found["commands"] for line in own["lines"]}
    return {purpose: words for purpose, words in every.items() if words[0] == "trtexec"}


def test_each_line_names_a_file_that_is_there(invoked: Quantkit, run: Path) -> None:
    assert invoked("export", run, "--target", "tensorrt").returncode == 0
    folder = run / "artifacts" / "tensorrt"
    found = document(run, "tensorrt")
    for words in trtexec(found).values():
        for word in words:
            if word.startswith(("--onnx=", "--calib=")):
                assert (folder / word.partition("=")[2]).is_file()
    assert all((folder / name).is_file() for name in found["files"])
    assert "explicit INT8" in found["files"]["int8/model.onnx"]
    shown = (folder / "COMMANDS.md").read_text()
    for own in found["commands"]:
        assert f"## {own['purpose']}\n" in shown and all(line in shown for line in own["lines"])


@pytest.mark.parametrize(
    ("version", "there", "absent"),
    [
        ("8.6.1", ("INT8, implicit", "INT8, explicit", "INT8 on a DLA"), ("strongly",)),
        ("10.3", ("INT8, implicit", "INT8, explicit", "INT8, strongly typed", "FP16, strongly typed"), ()),
        ("11.0", ("INT8, strongly typed", "FP16, strongly typed"), ("implicit", "explicit", "DLA")),
    ],
)
def test_the_lines_are_those_of_the_version(
    invoked: Quantkit, run: Path, version: str, there: tuple[str, ...], absent: tuple[str, ...]
) -> None:
    assert invoked("export", run, "--target", "tensorrt", "--tensorrt", version).returncode == 0
    lines = trtexec(document(run, "tensorrt"))
    for name in there:
        assert any(purpose.startswith(name) for purpose in lines)
    for name in absent:
        assert not any(name in purpose for purpose in lines)
    flags = {word.partition("=")[0] for words in lines.values() for word in words}
    assert ("--stronglyTyped" in flags) == (version == "10.3")
    assert ("--calib" in flags) == ("--int8" in flags) == (version != "11.0")
    for purpose, words in lines.items():
        if any(word.startswith("--calib=") for word in words):  # a cache belongs to the model without pairs
            assert any(word.startswith("--onnx=") and word.endswith("tiny $net.onnx") for word in words), purpose
        if "DLA" in purpose:
            assert {"--useDLACore=0", "--allowGPUFallback"} <= set(words)


def test_shapes_and_batches_are_those_of_the_run(invoked: Quantkit, run: Path) -> None:
    settings = run / "quantkit.toml"
    if settings.exists():
        text = re.sub(r"batch_sizes = \[[^\]]*\]", "batch_sizes = [1, 4]", settings.read_text())
    else:
        text = "[compare]\nbatch_sizes = [1, 4]\n"
    settings.write_text(text)
    assert invoked("export", run, "--target", "tensorrt", "--target", "onnxruntime").returncode == 0
    (words,) = [words for purpose, words in trtexec(document(run, "tensorrt")).items() if purpose == "FP32"]
    assert {"--minShapes=input:1x3x16x16", "--optShapes=input:4x3x16x16", "--maxShapes=input:4x3x16x16"} <= set(words)
    for target, backend in (("tensorrt", 'platform: "tensorrt_plan"'), ("onnxruntime", 'backend: "onnxruntime"')):
        config = (run / "artifacts" / target / "config.pbtxt").read_text()
        assert backend in config and "max_batch_size: 4 " in config
        assert '{ name: "input" data_type: TYPE_FP32 dims: [ 3, 16, 16 ] }' in config
        assert '{ name: "logits" data_type: TYPE_FP32 dims: [ 3 ] }' in config


def test_a_fixed_batch_is_no_batch_to_triton(images: Path, tmp_path: Path) -> None:
    onnx.save(tiny_model(batch=2), tmp_path / "two.onnx")
    calibration = qk.calibrate(tmp_path / "two.onnx", images, samples=4, output=tmp_path / "run")
    qk.export(calibration, "tensorrt")
    config = (tmp_path / "run/artifacts/tensorrt/config.pbtxt").read_text()
    assert "max_batch_size: 0 " in config and "dims: [ 2, 3, 16, 16 ]" in config
    assert not any(
        "Shapes" in word for words in trtexec(document(tmp_path / "run", "tensorrt")).values() for word in words
    )


def test_the_python_lines_run(invoked: Quantkit, run: Path) -> None:
    assert invoked("export", run, "--target", "onnxruntime").returncode == 0
    (own,) = (one for one in document(run, "onnxruntime")["commands"] if one["language"] == "python")
    program = "\n".join(own["lines"])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=run / "artifacts" / "onnxruntime", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"p50 [0-9.]+ ms\n", done.stdout)


@pytest.mark.openvino
def test_the_lines_for_benchmark_app_run(invoked: Quantkit, run: Path) -> None:
    pytest.importorskip("openvino")
    assert invoked("export", run, "--target", "openvino", "--precision", "int8").returncode == 0
    line = next(own for own in document(run, "openvino")["commands"] if own["purpose"] == "Latency")["lines"][0]
    words = shlex.split(line)
    assert words[0] == "benchmark_app" and "input[1,3,16,16]" in words
    words[words.index("-t") + 1] = "1"
    program = "from openvino.tools.benchmark.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *words[1:]], cwd=run / "artifacts/openvino", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Throughput:" in done.stdout


def test_files_of_the_users_stay_and_no_artifact_is_made_again(invoked: Quantkit, run: Path) -> None:
    assert invoked("export", run, "--target", "tensorrt").returncode == 0
    folder = run / "artifacts" / "tensorrt"
    before = sha256_of(folder / "int8" / "artifact.json"), (folder / "int8" / "model.onnx").stat().st_mtime_ns
    (folder / "COMMANDS.md").write_text("my own")
    done = invoked("export", run, "--target", "tensorrt", "--json")
    assert done.returncode == 0 and "It stays as it is." in done.stderr
    assert (folder / "COMMANDS.md").read_text() == "my own"
    assert {own["commands"] for own in json.loads(done.stdout)["artifacts"]} == {str(folder / "COMMANDS.md")}
    assert before == (sha256_of(folder / "int8" / "artifact.json"), (folder / "int8" / "model.onnx").stat().st_mtime_ns)


def test_commands_go_with_the_artifacts(invoked: Quantkit, run: Path, images: Path, tmp_path: Path) -> None:
    assert invoked("export", run, "--target", "tensorrt").returncode == 0
    model = tmp_path / "it's a model" / "tiny $net.onnx"
    again = ("calibrate", model, "--data", images, "--samples", "5", "-o", run, "--no-export")
    assert invoked(*again).returncode == 0
    assert not (run / "artifacts" / "tensorrt" / "commands.json").exists()
