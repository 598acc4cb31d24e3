from __future__ import annotations

from pathlib import Path

import pytest

from quantkit.config import parse_config
from quantkit.config_files import config_file, load_config
from quantkit.core.errors import BadInput


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load_config(
        written(
            tmp_path / "quantkit.toml", '[model]\npath = "a/m.onnx"\n[data]\ncalibration = "/abs"\nclasses = "c.txt"'
        )
    )
    assert config.model.path == tmp_path / "a/m.onnx"
    assert config.data.calibration == Path("/abs")
    assert config.data.classes == tmp_path / "c.txt"


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    config = parse_config(
        {
            "model": {"path": '/x/"quoted" \\ü.onnx'},
            "data": {"classes": ["a\nb", "c"], "eval_samples": 5},
            "preprocess": {"preset": "yolo", "pad": 3},
            "calibrate": {"exclude": ["*softmax*"]},
            "gate": [{"metric": "speedup", "min": 1.5}, {"metric": "drop.top1", "max": 0.01, "level": "warn"}],
        },
        "test",
    )
    assert load_config(written(tmp_path / "quantkit.toml", config.to_toml())) == config


def test_a_preset_is_the_ground_for_the_other_keys() -> None:
    config = parse_config({"preprocess": {"preset": "yolo", "pad": 0}}, "test")
    assert (config.preprocess.resize, config.preprocess.pad, config.preprocess.mean) == ("letterbox", 0, (0.0,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\npth = 1", r"Unknown key 'model.pth'.*Known keys there: path"),
        ("[modell]\npath = 'x'", r"Unknown key 'modell'.*model, data, preprocess"),
        ("[[gate]]\nmetric = 'speedup'\nmin = 1\ntraget = 'x'", r"'traget' of \[\[gate\]\] number 1.*target"),
        ("[data]\nsamples = 0", "data.samples"),
        ("[data]\nsamples = 'many'", "data.samples"),
        ("[compare]\nprecisions = ['int4']", "int4"),
        ("[preprocess]\npreset = 'resnet'", "resnet"),
        ("[[gate]]\nmetric = 'drop.top1'\nmax = 0.5", "50 points"),
        ("[gate]\nmetric = 'speedup'\nmin = 1", r"one table.*Write \[\[gate\]\]"),
        ("[model\npath=1", "not valid TOML"),
    ],
)
def test_wrong_files_are_bad_input_that_names_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        load_config(written(tmp_path / "quantkit.toml", text))


def test_pyproject_serves_where_there_is_no_quantkit_toml(tmp_path: Path) -> None:
    assert config_file(tmp_path) is None
    project = written(tmp_path / "pyproject.toml", "[tool.other]\nx = 1")
    assert config_file(tmp_path) is None
    written(project, "[tool.quantkit.data]\nsamples = 7\n[tool.other]\nx = 1")
    assert config_file(tmp_path) == project
    assert load_config(project).data.samples == 7
    own = written(tmp_path / "quantkit.toml", "[data]\nsamples = 8")
    assert config_file(tmp_path) == own


def test_classes_come_from_a_file(tmp_path: Path) -> None:
    file = written(tmp_path / "c.txt", "cat\n\n dog \n")
    assert parse_config({"data": {"classes": file}}, "test").class_names() == ["cat", "dog"]
    written(file, "cat\ncat\n")
    with pytest.raises(BadInput, match="repeats"):
        parse_config({"data": {"classes": file}}, "test").class_names()
    with pytest.raises(BadInput, match="cannot be read"):
        parse_config({"data": {"classes": tmp_path / "none.txt"}}, "test").class_names()


@pytest.mark.parametrize(("device", "kept"), [("CPU", "cpu"), ("cuda", "cuda:0"), ("CUDA:1", "cuda:1")])
def test_devices_to_calibrate_on(device: str, kept: str) -> None:
    assert parse_config({"calibrate": {"device": device}}, "the test").calibrate.device == kept


def test_a_device_that_is_none_is_named() -> None:
    with pytest.raises(BadInput, match="unknown device 'gpu'; there are cpu, and GPUs as cuda:0"):
        parse_config({"calibrate": {"device": "gpu"}}, "the test")
