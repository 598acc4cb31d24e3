"""What a model says of itself is used where the user says nothing, and never believed when it makes no sense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

import quantkit as qk
from quantkit.config import parse_config
from quantkit.core.errors import BadConfig
from quantkit.core.preprocess import IMAGENET_MEAN, Preprocess
from quantkit.core.presets import PRESETS, preset
from quantkit.graph.model_file import ModelFile, open_model
from quantkit.graph.self_description import description_of, resolved
from quantkit.pipeline.run_files import run_config
from tests.conftest import Quantkit, tiny_model

VIT = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "image_processor_type": "ViTImageProcessor",
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 16, "width": 16},
}
CLIP = {
    "crop_size": {"height": 16, "width": 16},
    "do_center_crop": True,
    "image_mean": [0.48, 0.46, 0.41],
    "image_std": [0.27, 0.26, 0.28],
    "resample": 3,
    "size": {"shortest_edge": 20},
}
TIMM = {
    "label_names": ["cat", "dog", "emu"],
    "pretrained_cfg": {
        "crop_mode": "center",
        "crop_pct": 0.9,
        "input_size": [3, 16, 16],
        "interpolation": "bicubic",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
}


def model_in(folder: Path, metadata: dict[str, str] | None = None, size: int | str = 16) -> ModelFile:
    proto = tiny_model(size=size)
    onnx.helper.set_model_props(proto, metadata or {})
    onnx.save(proto, folder / "m.onnx")
    return open_model(folder / "m.onnx")


def said(folder: Path, file: str, values: Any) -> Preprocess:
    (folder / file).write_text(json.dumps(values))
    own, notes = resolved(PRESETS["auto"], model_in(folder))
    assert file in notes[0]
    return own


def test_a_silent_model_gets_the_default(tmp_path: Path) -> None:
    assert resolved(PRESETS["auto"], model_in(tmp_path)) == (PRESETS["imagenet-stretch"], ())


def test_ultralytics_metadata(tmp_path: Path) -> None:
    metadata = {"author": "Ultralytics", "task": "detect", "imgsz": "[16, 16]", "names": "{0: 'a', 1: 'b'}"}
    own = description_of(model_in(tmp_path, metadata | {"stride": "32"}))
    assert own is not None
    assert (own.classes, own.task) == (("a", "b"), "detect")
    assert own.preprocess is not None
    assert (own.preprocess.resize, own.preprocess.size, own.preprocess.mean) == ("letterbox", (16, 16), (0.0,))


def test_a_size_that_the_model_does_not_take_is_left_out(tmp_path: Path) -> None:
    metadata = {"author": "Ultralytics", "task": "detect", "imgsz": "[640, 640]", "names": "{0: 'a'}"}
    assert resolved(PRESETS["auto"], model_in(tmp_path, metadata))[0].size is None
    assert resolved(PRESETS["auto"], model_in(tmp_path, metadata, size="s"))[0].size == (640, 640)


def test_hugging_faces_processors(tmp_path: Path) -> None:
    own = said(tmp_path, "preprocessor_config.json", VIT)
    assert (own.resize, own.size, own.mean, own.interpolation) == ("stretch", (16, 16), (0.5, 0.5, 0.5), "bilinear")
    assert own.scale == 1 / 255
    own = said(tmp_path, "preprocessor_config.json", CLIP)
    assert (own.resize, own.size, own.crop_pct, own.interpolation) == ("crop", (16, 16), 0.8, "bicubic")


def test_timms_configuration(tmp_path: Path) -> None:
    own = said(tmp_path, "config.json", TIMM)
    assert (own.resize, own.crop_pct, own.interpolation, own.mean) == ("crop", 0.9, "bicubic", IMAGENET_MEAN)


ULTRALYTICS = {"author": "Ultralytics", "task": "classify", "imgsz": "[16, 16]", "names": "{0: 'a', 1: 'b', 2: 'c'}"}


@pytest.mark.parametrize(
    ("file", "values", "name"),
    [
        ("preprocessor_config.json", CLIP, "huggingface"),
        ("config.json", TIMM, "timm"),
        ("", ULTRALYTICS, "ultralytics"),
    ],
)
def test_a_run_goes_on_with_what_its_model_said(
    invoked: Quantkit, tmp_path: Path, images: Path, file: str, values: dict[str, Any], name: str
) -> None:
    """The file of the run is read again by each further verb."""
    model_in(tmp_path, None if file else values)
    if file:
        (tmp_path / file).write_text(json.dumps(values))
    words = ("calibrate", "m.onnx", "--data", images, "-o", "run", "--no-export")
    assert invoked(*words).returncode == 0
    own = run_config(tmp_path / "run").preprocess
    assert own == qk.load_calibration(tmp_path / "run").preprocess.model_copy(update={"layout": own.layout})
    assert own.preset == name
    for further in (["calibrate", "--method", "minmax", "-o", "run", "--no-export"], ["export", "run"]):
        done = invoked(*further)
        assert done.returncode == 0, done.stderr


def test_a_preset_of_a_models_own_words_is_none_for_people() -> None:
    with pytest.raises(BadConfig, match="no preprocessing preset 'timm'"):
        parse_config({"preprocess": {"preset": "timm"}}, "a file")


def test_labels_of_config_json_go_with_the_processor(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "cat", "1": "dog", "2": "emu"}}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(VIT))
    own = description_of(model_in(tmp_path))
    assert own is not None
    assert own.classes == ("cat", "dog", "emu")
    assert own.preprocess is not None


def test_what_the_user_sets_stands(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(VIT))
    model = model_in(tmp_path, size="s")
    assert resolved(preset("imagenet"), model)[0] == preset("imagenet")
    own = PRESETS["auto"].model_copy(update={"mean": (0.1, 0.1, 0.1)})
    assert resolved(own, model)[0].mean == (0.1, 0.1, 0.1)
    sized, _ = resolved(PRESETS["auto"].model_copy(update={"size": (32, 48)}), model)
    assert (sized.size, sized.mean) == ((32, 48), (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    "values",
    [
        {"image_mean": "high", "size": 16},
        {"do_resize": True, "size": {"height": "x"}},
        {"do_resize": True, "size": -4},
        {"do_normalize": True, "image_std": [0, 0, 0], "size": 16},
        {"crop_size": 0, "do_resize": True, "size": 16},
        {"resample": 99, "do_resize": True, "size": 16},
        {"rescale_factor": "NaN", "do_resize": True, "size": 16},
        {"do_resize": False},
        {"do_resize": True, "size": 1_000_000},
    ],
)
def test_nonsense_is_noted_and_not_used(values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    own, notes = resolved(PRESETS["auto"], model_in(tmp_path))
    assert own == PRESETS["imagenet-stretch"]
    assert notes


@pytest.mark.parametrize("text", ["", "[1", "[]", "nan", "[" * 100_000, '{"pretrained_cfg": {"input_size": [3]}}'])
def test_damaged_files_are_no_obstacle(text: str, tmp_path: Path) -> None:
    for name in ("preprocessor_config.json", "config.json"):
        (tmp_path / name).write_text(text)
    own, notes = resolved(PRESETS["auto"], model_in(tmp_path))
    assert own == PRESETS["imagenet-stretch"]
    assert notes


def test_a_damaged_file_does_not_hide_the_other(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{")
    (tmp_path / "config.json").write_text(json.dumps(TIMM))
    own, notes = resolved(PRESETS["auto"], model_in(tmp_path))
    assert own.crop_pct == 0.9
    assert any("preprocessor_config.json beside the model is no JSON object" in note for note in notes)


@pytest.mark.parametrize("names", ["{1: 'a', 2: 'b'}", "__import__('os').getcwd()", "{" * 10_000, "7"])
def test_names_that_are_none_are_not_used(names: str, tmp_path: Path) -> None:
    own = description_of(model_in(tmp_path, {"author": "Ultralytics", "task": "detect", "names": names}))
    assert own is not None
    assert own.classes == ()
    assert own.notes
