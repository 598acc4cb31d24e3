"""Where TensorRT is not installed: what is said, and with which exit code."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import quantkit as qk
from quantkit.core.cuda import driver_is_here
from quantkit.targets.tensorrt.engine.libraries import TENSORRT
from tests.conftest import Quantkit, tiny_model, write_images

pytestmark = pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed here")
REASON = "the package tensorrt is not installed"
if not driver_is_here():
    REASON = f"there is no NVIDIA GPU here, and {REASON}"
COMMAND = f"python{sys.version_info.major}.{sys.version_info.minor} -m pip install 'tensorrt>=8.6,<12'"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, images and a finished calibration, not to be written to."""
    import onnx

    folder = tmp_path_factory.mktemp("made")
    onnx.save(tiny_model(), folder / "tiny.onnx")
    qk.calibrate(folder / "tiny.onnx", write_images(folder / "imgs"), output=folder / "run")
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of the run; its model and images stay where they are."""
    return Path(shutil.copytree(made / "run", tmp_path / "run"))


def test_build_says_what_to_install_for_this_python(quantkit: Quantkit, run: Path) -> None:
    done = quantkit("build", run)
    assert done.returncode == 3
    assert f"Error: TensorRT cannot be used here: {REASON}." in done.stderr
    assert COMMAND in done.stderr
    # RTX engines need no GPU
    assert ("the target tensorrt-rtx" in done.stderr) == (not driver_is_here() and sys.platform == "linux")
    assert not (run / "artifacts" / "tensorrt" / "engines").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--precision", "int4"), "no precision 'int4'"),
        (("--target", "openvino"), "no engines to build for 'openvino'"),
        (("--mode", "wrong"), "wrong"),
        (("--shape", "input"), "cannot be read"),
        (("--shape", "other=1x3x16x16"), "no input 'other'"),
        (("--shape", "input=1x3x16x16:1x3x16x32"), "does not fit"),
        (("--optimization-level", "6"), "--optimization-level"),
        (("--workspace", "0"), "--workspace"),
        (("--batch-size", "0"), "--batch-size"),
    ],
)
def test_bad_options_are_told_before_the_missing_library(
    quantkit: Quantkit, run: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = quantkit("build", run, *arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_the_settings_table_is_checked_too(quantkit: Quantkit, run: Path) -> None:
    (run / "quantkit.toml").write_text('[build]\nmode = "fast"\n', encoding="utf-8")
    done = quantkit("build", run)
    assert done.returncode == 2
    assert "mode" in done.stderr
    (run / "quantkit.toml").write_text("[build]\nworkspace = 5\n", encoding="utf-8")
    done = quantkit("build", run)
    assert done.returncode == 2
    assert "mode, shapes, workspace_mb, optimization_level" in done.stderr


def test_compare_on_tensorrt_says_what_to_install(quantkit: Quantkit, made: Path, run: Path) -> None:
    done = quantkit("compare", run, "--data", made / "imgs", "--target", "tensorrt")
    assert done.returncode == 3
    assert f"tensorrt cannot be measured here: {REASON}." in done.stderr
    assert COMMAND in done.stderr


def test_doctor_tells_reason_and_command(quantkit: Quantkit) -> None:
    done = quantkit("doctor", "--json")
    assert done.returncode == 0
    state = json.loads(done.stdout)["targets"]["tensorrt"]
    assert (state["works"], state["exports"], state["devices"]) == (False, True, [])
    assert state["reason"] == REASON
    assert TENSORRT.install_command() in state["hint"]
    assert COMMAND in state["hint"]
    assert "the package tensorrt is not installed" in " ".join(quantkit("doctor").stdout.split())


def test_everything_for_tensorrt_is_exported_all_the_same(quantkit: Quantkit, run: Path) -> None:
    assert quantkit("export", run, "--target", "tensorrt").returncode == 0
    folder = run / "artifacts" / "tensorrt"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix != ".json"} == {
        *("fp16", "fp16/model.onnx", "int8"),
        *("COMMANDS.md", "config.pbtxt"),
        *(f"int8/{name}" for name in ("model.onnx", "strongly_typed.onnx", "calibration.cache", "dynamic_ranges.txt")),
    }
