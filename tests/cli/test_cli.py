from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import quantkit as quantkit_package
from quantkit.calibrators import calibrators
from quantkit.config import DEFAULT_METHOD
from tests.conftest import Quantkit

VENDORS = ("openvino", "nncf", "tensorrt", "torch", "onnxruntime", "onnx", "scipy", "matplotlib", "pydantic", "numpy")


def test_help_names_every_verb_and_is_quick(quantkit: Quantkit, invoked: Quantkit) -> None:
    quantkit("--help")
    times = []
    for _ in range(3):
        before = os.times()
        shown = quantkit("--help")
        after = os.times()  # the processor's time, which is the clock's where nothing else runs beside it
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert shown.returncode == 0
    verbs = "calibrate merge export convert compare report history gate run inspect doctor demo"
    for verb in verbs.split():
        assert verb in shown.stdout
        told = invoked(verb, "--help")
        assert told.returncode == 0
        assert verb != "gate" or "[[gate]]" in told.stdout  # and not taken for markup
    assert min(times) < 0.5


@pytest.mark.parametrize("statement", ["import quantkit", "import quantkit.cli.main"])
def test_importing_loads_nothing_heavy(statement: str) -> None:
    code = f"{statement}; import sys; print([m for m in {VENDORS!r} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_vendor_packages_are_imported_only_inside_their_target() -> None:
    root = Path(quantkit_package.__file__).parent
    for file in root.rglob("*.py"):
        for line in file.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]) and len(words) > 1:
                package = words[1].split(".")[0]
                if package in ("openvino", "nncf", "tensorrt"):
                    assert file.relative_to(root).parts[0] == "targets", f"{file}: {line}"
                    assert line.startswith("    "), f"{file} imports {package} at the top"


def test_doctor_tells_what_works(invoked: Quantkit) -> None:
    document = json.loads(invoked("doctor", "--json").stdout)
    assert document["targets"]["onnxruntime"]["works"]
    assert document["targets"]["tensorrt"]["exports"]
    openvino = document["targets"]["openvino"]
    assert openvino["works"] or "pip install" in openvino["hint"]
    shown = invoked("doctor").stdout
    assert "onnxruntime" in shown
    assert document["counting_kernel"] == ("Counting: compiled\n" in shown)


def test_doctor_tells_how_to_get_the_counting_kernel(quantkit: Quantkit, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['quantkit.calibrators._count'] = None\n")
    path = f"{tmp_path}:{Path(quantkit_package.__file__).parents[1]}"
    assert not json.loads(quantkit("doctor", "--json", PYTHONPATH=path).stdout)["counting_kernel"]
    shown = quantkit("doctor", PYTHONPATH=path).stdout
    assert "Counting: NumPy" in shown
    assert "C compiler" in shown


def test_an_unknown_method_is_answered_with_every_method(invoked: Quantkit, model_path: Path, images: Path) -> None:
    assert f"[{DEFAULT_METHOD}]" in invoked("calibrate", "--help", COLUMNS="300").stdout
    refused = invoked("calibrate", model_path, "--data", images, "--method", "best")
    assert refused.returncode == 2
    assert refused.stderr.split("Choose one of: ")[1].rstrip(".\n").split(", ") == list(calibrators())


def test_a_missing_library_is_named_with_its_pip_command(quantkit: Quantkit, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['openvino'] = None\n")
    shown = quantkit("doctor", "--json", PYTHONPATH=f"{tmp_path}:{Path(quantkit_package.__file__).parents[1]}")
    openvino = json.loads(shown.stdout)["targets"]["openvino"]
    assert not openvino["works"]
    assert "pip install 'openvino>=" in openvino["hint"]


def test_inspect_shows_a_model(invoked: Quantkit, model_path: Path) -> None:
    document = json.loads(invoked("inspect", model_path, "--json").stdout)
    assert document["inputs"] == [{"name": "input", "shape": ["N", 3, 16, 16], "dtype": "float32", "batch_axis": 0}]
    assert document["operators"]["Conv"] == 2
    shown = invoked("inspect", model_path).stdout
    assert "N × 3 × 16 × 16" in shown


def test_version(quantkit: Quantkit) -> None:
    from quantkit import __version__

    assert quantkit("--version").stdout.strip() == f"quantkit {__version__}"


def test_stdout_carries_results_only(quantkit: Quantkit, model_path: Path, images: Path) -> None:
    done = quantkit("calibrate", model_path, "--data", images, "-o", "out", "--json", "-v")
    json.loads(done.stdout)
    quiet = quantkit("calibrate", model_path, "--data", images, "-o", "out", "-q", "--fresh")
    assert quiet.stderr == ""
    assert "\x1b[" not in quiet.stdout + quiet.stderr


@pytest.mark.parametrize(
    ("words", "what", "help_of"),
    [(["gat"], "No such command 'gat'", ""), (["gate", "--x"], "No such option: --x.", " gate")],
)
def test_a_slip_in_the_command_names_the_help_that_mends_it(
    words: list[str], what: str, help_of: str, invoked: Quantkit
) -> None:
    done = invoked(*words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {what}")
    assert done.stderr.endswith(f"       See quantkit{help_of} --help.\n")
    assert "?." not in done.stderr


def test_compare_takes_what_concerns_it_from_the_configuration_here(
    invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path
) -> None:
    """The run's settings say how it was made; -c replaces all of them."""
    done = invoked("calibrate", model_path, "--data", images, "-o", "run", "--no-export", "--preprocess", "raw")
    assert done.returncode == 0, done.stderr
    here = '[preprocess]\npreset = "imagenet"\n[compare]\ntargets = ["onnxruntime"]\n[data]\nevaluation = "imgs"\n'
    here += "seed = 9\n"
    for name, text in (("quantkit.toml", here), ("pyproject.toml", _below_tool(here))):
        (tmp_path / name).write_text(text)
        shown = invoked("compare", "run", "--dump-config").stdout
        assert f'evaluation = "{images}"' in shown
        assert '"onnxruntime"' in shown
        assert 'preset = "raw"' in shown
        assert "seed = 0" in shown
        assert '"openvino"' in invoked("compare", "run", "--dump-config", "--target", "openvino").stdout
        assert '"tensorrt"' in invoked("compare", "run", "--dump-config", QUANTKIT_TARGET="tensorrt").stdout
        (tmp_path / name).rename(tmp_path / "other.toml")
        assert '"onnxruntime"' not in invoked("compare", "run", "--dump-config").stdout
    (tmp_path / "other.toml").write_text(here)
    assert 'preset = "imagenet"' in invoked("compare", "run", "--dump-config", "-c", "other.toml").stdout


def _below_tool(text: str) -> str:
    return "".join(
        line.replace("[", "[tool.quantkit.", 1) if line.startswith("[") else line for line in text.splitlines(True)
    )


@pytest.mark.parametrize("value", ["0.9999", "0.5", "49", "nan", "101"])
def test_a_percentile_that_is_a_share_is_refused_everywhere(
    invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path, value: str
) -> None:
    command = ("calibrate", model_path, "--data", images, "-o", "out", "--method", "percentile")
    (tmp_path / "quantkit.toml").write_text(f"[calibrate]\npercentile = {value}\n")
    toml = invoked(*command)
    (tmp_path / "quantkit.toml").unlink()
    for done in (toml, invoked(*command, "--percentile", value), invoked(*command, QUANTKIT_PERCENTILE=value)):
        assert done.returncode == 2
        assert "percent of the values" in done.stderr or value == "nan"
    with pytest.raises(quantkit_package.BadConfig, match="percent"):
        quantkit_package.calibrate(model_path, images, method="percentile", percentile=float(value))


@pytest.mark.parametrize("option", ["-1", "0", "-0.5"])
def test_a_speed_up_that_says_nothing_is_refused(
    invoked: Quantkit, model_path: Path, images: Path, option: str
) -> None:
    calibration = quantkit_package.calibrate(model_path, images, output="run")
    quantkit_package.compare(calibration, images, targets=["onnxruntime"], precisions=["int8"])
    done = invoked("gate", "run", f"--min-speedup={option}")
    assert done.returncode == 2
    assert "above 0" in done.stderr


@pytest.mark.parametrize("size", [10**9, 10**12])
def test_a_batch_beyond_the_memory_is_refused_with_its_size(
    invoked: Quantkit, model_path: Path, images: Path, size: int
) -> None:
    quantkit_package.calibrate(model_path, images, output="run")
    done = invoked("compare", "run", "--data", images, "--target", "onnxruntime", "--batch-size", size)
    assert done.returncode == 2
    assert "GB" in done.stderr
    assert str(size) in done.stderr


def test_compare_ends_with_what_to_ship_and_the_gate_can_ask_for_it(
    invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path
) -> None:
    quantkit_package.calibrate(model_path, images, output=tmp_path / "run")
    compared = invoked("compare", "run", "--data", images, "--target", "onnxruntime", "--precision", "int8")
    assert compared.returncode == 0, compared.stderr
    last = compared.stdout.splitlines()[-1]
    assert last.startswith("Recommended: ")
    document = json.loads((tmp_path / "run" / "comparison.json").read_text())
    fp32, int8 = document["rows"]
    int8["latency_ms"] = fp32["latency_ms"]
    int8["rounds_ms"] = fp32["rounds_ms"]
    (tmp_path / "run" / "comparison.json").write_text(json.dumps(document))
    done = invoked("gate", "run", "--require-recommended")
    assert done.returncode == 1
    assert "FP32 is not slower on onnxruntime: INT8 is not worth it here" in done.stdout.replace("\n", " ")
    assert invoked("gate", "run", QUANTKIT_REQUIRE_RECOMMENDED="1").returncode == 1
    assert invoked("gate", "run", "--min-agreement", "1").returncode == 0


def test_a_comparison_of_an_earlier_version_still_loads(model_path: Path, images: Path, tmp_path: Path) -> None:
    calibration = quantkit_package.calibrate(model_path, images, output=tmp_path / "run")
    quantkit_package.compare(calibration, images, targets="onnxruntime", precisions="int8", rounds=1)
    document = json.loads((tmp_path / "run" / "comparison.json").read_text())
    del document["recommendation"]
    for row in document["rows"]:
        for key in ("speedup_interval", "rounds_ms", "path"):
            del row[key]
    (tmp_path / "run" / "comparison.json").write_text(json.dumps(document))
    loaded = quantkit_package.load_comparison(tmp_path / "run")
    assert [(row.speedup_interval, row.rounds_ms, row.path) for row in loaded.rows] == [(None, (), "")] * 2
