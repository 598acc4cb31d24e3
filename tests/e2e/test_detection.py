"""A detector from its images to the gate, on the command line, with annotations of each kind and without."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest

from quantkit.core.errors import BadConfig, BadData
from tests.conftest import Quantkit
from tests.tasks.detection.scenes import (
    CLASSES,
    square_detector,
    square_detector_with_lists,
    square_images,
    write_coco,
    write_voc,
    write_yolo,
)

pytest.importorskip("faster_coco_eval")
QUICK = ("--target", "onnxruntime", "--rounds", "2", "--seconds", "0.1", "--preprocess", "yolo")


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """A detector, its images and their annotations as COCO, YOLO and Pascal VOC."""
    onnx.save(square_detector(names=True), tmp_path / "squares.onnx")
    objects = square_images(tmp_path / "imgs", 18)
    shutil.copytree(tmp_path / "imgs", tmp_path / "yolo" / "images")
    shutil.copytree(tmp_path / "imgs", tmp_path / "voc" / "JPEGImages")
    write_coco(tmp_path / "imgs" / "annotations.json", objects)
    write_yolo(tmp_path / "yolo", objects)
    write_voc(tmp_path / "voc", objects)
    return tmp_path


def calibrated(squares: Path, invoked: Quantkit, data: str = "imgs") -> None:
    done = invoked("calibrate", "squares.onnx", "--data", data, "-o", "out", "--preprocess", "yolo", "--no-export")
    assert done.returncode == 0, done.stderr


def compared(invoked: Quantkit, *more: object) -> Any:
    done = invoked("compare", "out", *QUICK, "--json", *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_from_coco_to_the_gate(squares: Path, invoked: Quantkit) -> None:
    calibrated(squares, invoked, "imgs/annotations.json")
    done = invoked("compare", "out", *QUICK, "--data", "imgs/annotations.json")
    assert done.returncode == 0, done.stderr
    assert "mAP %" in done.stdout
    document = json.loads((squares / "out" / "comparison.json").read_text())
    assert (document["task"], document["samples"], document["labelled"]) == ("detection", 18, 18)
    fp32, int8 = (next(row for row in document["rows"] if row["precision"] == name) for name in ("fp32", "int8"))
    metrics = fp32["metrics"]
    assert 0.4 < metrics["map"]["low"] < metrics["map"]["value"] < metrics["map"]["high"] < 1
    assert metrics["ap50"]["value"] > metrics["map"]["value"]
    assert (metrics["f1_50"]["value"], fp32["agreement"]) == (1, 1)
    assert int8["metrics"]["f1_50"]["value"] > 0.8
    assert int8["drop"]["map"] == pytest.approx(metrics["map"]["value"] - int8["metrics"]["map"]["value"])
    change = int8["changes"]["map"]
    assert change["low"] <= int8["drop"]["map"] <= change["high"]
    assert 0 < change["p_value"] <= 1
    assert {part["name"] for part in int8["parts"] if part["kind"] == "class"} == set(CLASSES)
    assert "f1_50" not in int8["drop"]
    page = (squares / "out" / "report.html").read_text()
    assert "Objects found by class" in page
    assert "mAP" in page
    for most, code in (("0.04", 0), ("-0.04", 1)):
        (squares / "gate.toml").write_text(f'[[gate]]\nmetric = "drop.map"\nmax = {most}\n')
        judged = invoked("gate", "out", "--gates", "gate.toml")
        assert judged.returncode == code, judged.stdout + judged.stderr


def test_every_kind_of_annotations_gives_the_same_map(squares: Path, invoked: Quantkit) -> None:
    calibrated(squares, invoked)
    found = [
        compared(invoked, "--data", data, "--precision", "fp32")["rows"][0]["metrics"]["map"]["value"]
        for data in ("imgs/annotations.json", "yolo/data.yaml", "voc")
    ]
    assert found == pytest.approx([found[0]] * 3, abs=1e-6)


def test_images_may_lie_elsewhere_than_their_annotations(squares: Path, invoked: Quantkit) -> None:
    calibrated(squares, invoked)
    expected = compared(invoked, "--data", "imgs/annotations.json", "--precision", "fp32")["rows"][0]["metrics"]
    (squares / "imgs" / "annotations.json").rename(squares / "elsewhere.json")
    done = invoked("compare", "out", *QUICK, "--json", "--data", "elsewhere.json")
    assert done.returncode != 0
    assert "--labels" in done.stderr
    found = compared(invoked, "--data", "imgs", "--labels", "elsewhere.json", "--precision", "fp32")
    assert found["rows"][0]["metrics"] == expected


def test_a_model_that_wants_the_images_size_is_given_that_of_its_input(squares: Path, invoked: Quantkit) -> None:
    """Exports with postprocessing give the same mAP as those without."""
    calibrated(squares, invoked)
    options = ("--data", "imgs/annotations.json", "--precision", "fp32")
    plain = compared(invoked, *options)["rows"][0]["metrics"]["map"]["value"]
    onnx.save(square_detector_with_lists(), squares / "squares.onnx")
    calibrated(squares, invoked)
    document = compared(invoked, *options, "--precision", "int8")
    found = {row["precision"]: row["metrics"]["map"]["value"] for row in document["rows"]}
    assert found["fp32"] == pytest.approx(plain, abs=0.02)  # one class a box here, three there
    assert found["int8"] > plain - 0.1


def test_boxes_are_drawn_where_detections_differ(squares: Path, invoked: Quantkit) -> None:
    """INT8 that is bad on purpose, so that there are differences."""
    calibrated(squares, invoked)
    done = invoked("calibrate", "squares.onnx", "--data", "imgs", "-o", "out", "--method", "percentile",
                   "--percentile", "60", "--preprocess", "yolo", "--no-export")  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = compared(invoked, "--data", "yolo/data.yaml")
    int8 = next(row for row in document["rows"] if row["precision"] == "int8")
    assert int8["agreement"] < 1
    page = (squares / "out" / "report.html").read_text()
    assert 'class="box-before"' in page
    assert "data:image/jpeg" in page
    assert "INT8, dashed" in page
    assert "other detections than FP32’s" in page


def test_without_annotations_detections_are_compared_with_fp32(squares: Path, invoked: Quantkit) -> None:
    (squares / "imgs" / "annotations.json").unlink()
    calibrated(squares, invoked)
    document = compared(invoked, "--data", "imgs")  # the file says that it is a detector
    assert (document["task"], document["labelled"]) == ("detection", 0)
    assert "one to one" in document["answers"]
    int8 = next(row for row in document["rows"] if row["precision"] == "int8")
    assert set(int8["metrics"]) == {"f1_50", "f1_75"}
    assert int8["drop"] == {}
    assert int8["agreement"] is not None


def test_zero_detections_are_said_and_no_agreement(squares: Path, invoked: Quantkit) -> None:
    empty = (squares / "imgs" / "000.png").read_bytes()
    for image in (squares / "imgs").glob("*.png"):
        image.write_bytes(empty)
    calibrated(squares, invoked)
    document = compared(invoked, "--data", "imgs", "--task", "detection", "--precision", "fp32")
    assert all(row["agreement"] is None and "f1_50" not in row["metrics"] for row in document["rows"])
    assert any("Nothing is detected in any image" in warning for warning in document["warnings"])


def test_a_head_that_is_not_certain_must_be_named(squares: Path, invoked: Quantkit) -> None:
    onnx.save(square_detector(), squares / "squares.onnx")  # without a word about itself
    calibrated(squares, invoked)
    refused = invoked("compare", "out", *QUICK, "--data", "imgs/annotations.json")
    assert refused.returncode == BadConfig.exit_code
    assert "output0 (1, 7, 16)" in refused.stderr
    assert "yolov8" in refused.stderr
    refused = invoked("compare", "out", *QUICK, "--data", "imgs/annotations.json", "--task-head", "detr")
    assert refused.returncode == BadConfig.exit_code
    named = compared(invoked, "--data", "imgs/annotations.json", "--task-head", "yolov8", "--precision", "fp32")
    assert named["rows"][0]["metrics"]["map"]["value"] > 0.4
    none = compared(invoked, "--data", "imgs/annotations.json", "--task", "none", "--precision", "fp32")
    assert none["task"] == "none"


def test_images_and_boxes_from_python(squares: Path) -> None:
    from PIL import Image

    import quantkit
    from quantkit.datasets import Boxes, open_dataset
    from quantkit.graph.model_io import ModelInput

    inputs = [ModelInput("images", (1, 3, 64, 64), "float32")]
    opened = open_dataset(squares / "imgs" / "annotations.json", inputs, quantkit.Preprocess(preset="yolo"))
    files = opened.dataset
    assert files.annotations is not None
    assert all(isinstance(boxes, Boxes) for boxes in files.annotations)
    # In the same order, which decides between detections of the same score.
    pairs = [(Image.open(squares / "imgs" / files.names[i]), files.annotations[i]) for i in opened.indices]
    calibration = quantkit.calibrate(squares / "squares.onnx", pairs, preprocess="yolo")
    quick = {"targets": "onnxruntime", "precisions": "fp32", "rounds": 1, "seconds": 0.05}
    given = quantkit.compare(calibration, pairs, classes=CLASSES, **quick).rows[0].metrics["map"]
    read = quantkit.compare(calibration, squares / "imgs" / "annotations.json", **quick).rows[0].metrics["map"]
    assert given.value == pytest.approx(read.value, abs=1e-9)


def test_classes_that_are_not_the_models_are_refused(squares: Path, invoked: Quantkit) -> None:
    calibrated(squares, invoked)
    (squares / "yolo" / "data.yaml").write_text("val: images\nnames: [a, b, c, d]\n")
    refused = invoked("compare", "out", *QUICK, "--data", "yolo/data.yaml")
    assert refused.returncode == BadData.exit_code
    assert "has 4 classes, but the model has 3" in refused.stderr
