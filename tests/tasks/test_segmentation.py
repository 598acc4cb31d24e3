"""Segmentation from folders of masks, through the command line, and what its figures are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import quantkit as qk
from quantkit.core.errors import BadConfig, BadData
from quantkit.core.presets import preset
from quantkit.datasets.mask import OUTSIDE
from quantkit.datasets.masks import PngMask
from quantkit.tasks.segmentation.answers import Maps, maps_in
from quantkit.tasks.segmentation.scorer import Overlaps, SegmentationScorer
from tests.conftest import Quantkit

COLOURS = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200]], np.float32)
RNG = np.random.default_rng(11)


def segmenter(classes: int = 3) -> onnx.ModelProto:
    """Two Convs after which each pixel's best class is the colour that it is nearest to; or one channel, with a
    Sigmoid."""
    identity = np.zeros((16, 3, 3, 3), np.float32)
    identity[:3, :, 1, 1] = np.eye(3)
    identity[3:] = 0.02 * RNG.standard_normal((13, 3, 3, 3))
    heads = np.zeros((classes, 16, 1, 1), np.float32)
    heads[:, :3, 0, 0] = 6 * COLOURS[:classes] / 255
    bias = -3 * ((COLOURS[:classes] / 255) ** 2).sum(axis=1) if classes > 1 else np.array([-2.5])
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="c", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="r"),
        helper.make_node("Conv", ["r", "h", "b"], ["map" if classes > 1 else "s"], name="h"),
    ]
    nodes += [helper.make_node("Sigmoid", ["s"], ["map"], name="m")] if classes == 1 else []
    graph = helper.make_graph(
        nodes,
        "segmenter",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 24, 32])],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, ["N", classes, 24, 32])],
        [
            numpy_helper.from_array(identity, "w"),
            numpy_helper.from_array(heads, "h"),
            numpy_helper.from_array(bias.astype(np.float32), "b"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def scenes(folder: Path, count: int = 12, names: tuple[str, str] = ("images", "masks"), mode: str = "L") -> Path:
    """Images of coloured rectangles, with masks; a strip at the top is not judged."""
    for part in names:
        (folder / part).mkdir(parents=True)
    for number in range(count):
        mask = np.zeros((48, 64), np.uint8)
        mask[8 : 24 + number, 8:40] = 1
        mask[30:, 20 + number :] = 2
        pixels = COLOURS[mask] + RNG.normal(0, 12, (48, 64, 3))
        mask[:2] = 255
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / names[0] / f"{number}.png")
        image = Image.fromarray(mask)
        if mode == "P":
            image = image.convert("L")
            image.putpalette([v for c in COLOURS for v in c.astype(int)] + [0] * (768 - 9))
        image.save(folder / names[1] / f"{number}.png")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    onnx.save(segmenter(), tmp_path / "m.onnx")
    scenes(tmp_path / "data")
    (tmp_path / "data" / "classes.txt").write_text("wall\ntree\nsky\n")
    return tmp_path


def test_from_calibration_to_the_gate(invoked: Quantkit, folder: Path) -> None:
    done = invoked(
        "calibrate", "m.onnx", "--data", "data/images", "--preprocess", "zero-to-one", "-o", "run", "--no-export"
    )
    assert done.returncode == 0, done.stderr
    done = invoked("compare", "run", "--data", "data", "--target", "onnxruntime", "--precision", "int8")
    assert done.returncode == 0, done.stderr
    assert "the class of each pixel in output map" in done.stderr
    document = json.loads((folder / "run" / "comparison.json").read_text())
    assert document["task"] == "segmentation"
    fp32, int8 = document["rows"]
    for row in (fp32, int8):
        assert row["metrics"]["miou"]["value"] > 0.9
        assert row["metrics"]["miou"]["low"] <= row["metrics"]["miou"]["value"] <= row["metrics"]["miou"]["high"]
        assert row["metrics"]["pixels"]["value"] > 0.95
    assert [part["name"] for part in int8["parts"]] == ["wall", "tree", "sky"]
    assert int8["metrics"]["miou_fp32"]["value"] > 0.95
    assert int8["agreement"] > 0.98
    assert "miou" in int8["changes"]
    gated = invoked("gate", "run", "--max-drop", "2")
    assert gated.returncode == 0, gated.stderr
    page = (folder / "run" / "report.html").read_text()
    assert "IoU by class" in page
    assert "sky" in page


def test_without_masks_fp32_is_what_is_compared_with(invoked: Quantkit, folder: Path) -> None:
    assert invoked("calibrate", "m.onnx", "--data", "data/images", "-o", "run", "--no-export").returncode == 0
    words = ["compare", "run", "--data", "data/images", "--target", "onnxruntime", "--precision", "int8"]
    done = invoked(*words, "--task", "segmentation")
    assert done.returncode == 0, done.stderr
    row = json.loads((folder / "run" / "comparison.json").read_text())["rows"][1]
    assert set(row["metrics"]) == {"miou_fp32"}
    assert row["agreement"] > 0.9


@pytest.mark.parametrize(("names", "mode"), [(("JPEGImages", "SegmentationClass"), "P"), (("images", "labels"), "L")])
def test_other_names_and_palettes(names: tuple[str, str], mode: str, tmp_path: Path) -> None:
    onnx.save(segmenter(), tmp_path / "m.onnx")
    scenes(tmp_path / "data", 4, names, mode)
    calibration = qk.calibrate(tmp_path / "m.onnx", tmp_path / "data", preprocess="zero-to-one")
    found = qk.compare(calibration, tmp_path / "data", targets="onnxruntime", precisions="int8")
    assert found.rows[1].metrics["miou"].value > 0.9


def test_one_channel_is_a_foreground(tmp_path: Path) -> None:
    onnx.save(segmenter(1), tmp_path / "m.onnx")
    scenes(tmp_path / "data", 6)
    for file in (tmp_path / "data" / "masks").iterdir():
        mask = np.asarray(Image.open(file))
        Image.fromarray(np.where(mask == 255, 255, mask == 0).astype(np.uint8)).save(file)
    calibration = qk.calibrate(tmp_path / "m.onnx", tmp_path / "data", preprocess="zero-to-one")
    found = qk.compare(calibration, tmp_path / "data", targets="onnxruntime", precisions="int8")
    fp32, int8 = found.rows
    assert fp32.metrics["iou"].value > 0.8
    assert int8.metrics["mae"].value < 0.5
    assert int8.changes["iou"].p_value <= 1


def test_maps_of_one_class_everywhere_are_no_agreement() -> None:
    empty = Maps(np.zeros((2, 4, 4), np.int64), 2)
    seen = Maps(np.eye(4, dtype=np.int64)[None].repeat(2, axis=0), 2)
    for own, its, agrees in ((empty, empty, False), (empty, seen, True), (seen, seen, True)):
        scorer = SegmentationScorer((), ())
        scorer.update(own, its, None)
        found = scorer.result()
        assert ("miou_fp32" in found.metrics, found.agreement is not None, not found.warnings) == (agrees,) * 3


def test_iou_is_what_it_should_be() -> None:
    true = RNG.integers(-1, 4, (50, 40))
    own = np.where(RNG.random(true.shape) < 0.7, true.clip(0), RNG.integers(0, 4, true.shape))
    overlaps = Overlaps()
    for start in range(0, 50, 10):  # five images
        overlaps.add(own[start : start + 10], true[start : start + 10], 4)
    mean, pixels, each = overlaps.figures(np.ones((1, 5)))
    judged = true >= 0
    wanted = [((own == c) & (true == c)).sum() / (((own == c) & judged) | (true == c)).sum() for c in range(4)]
    assert each[0] == pytest.approx(wanted)
    assert mean[0] == pytest.approx(np.mean(wanted))
    assert pixels[0] == pytest.approx((own == true)[judged].mean())


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "crop"])
def test_masks_lie_where_images_lie(resize: str, tmp_path: Path) -> None:
    """The mask of an image that is its own mask is, as the input has it, the image."""
    from quantkit.datasets.transform import transform

    size, pixels = (24, 40), np.repeat(np.repeat(RNG.integers(0, 200, (6, 8), dtype=np.uint8), 8, 0), 8, 1)
    Image.fromarray(pixels).save(tmp_path / "m.png")
    own = preset("raw").model_copy(
        update={"resize": resize, "size": size, "interpolation": "nearest", "pad": 255, "layout": "nchw"}
    )
    image = transform(Image.fromarray(pixels).convert("RGB"), own)[0]
    placed = PngMask(tmp_path / "m.png", (48, 64)).as_output(own, size)
    inside = placed != OUTSIDE
    assert (image[~inside] == 255).all()
    assert np.mean(placed[inside] == image[inside]) > 0.99


def test_maps_are_read_from_scores_indices_and_one_channel() -> None:
    scores = RNG.standard_normal((2, 5, 6, 7)).astype(np.float32)
    for values, axis in ((scores, 0), (np.moveaxis(scores, 1, 3), 2)):
        found = maps_in(values, axis, 0.5)
        assert found is not None
        assert (found.classes == scores.argmax(axis=1)).all()
    indices = maps_in(scores.argmax(axis=1).astype(np.int64), 0, 0.5)
    assert indices is not None
    assert indices.count is None
    soft = maps_in(scores[:, :1], 0, 0.5)
    assert soft is not None
    assert soft.soft is not None
    assert (soft.classes == (scores[:, 0] > 0.5)).all()


def test_a_mask_of_another_size_is_an_error(folder: Path) -> None:
    Image.new("L", (10, 10)).save(folder / "data" / "masks" / "3.png")
    with pytest.raises(BadData, match=r"3\.png is 10x10 pixels, but its image 64x48"):
        qk.calibrate(folder / "m.onnx", folder / "data")


def test_a_mask_of_colours_is_an_error(folder: Path) -> None:
    Image.new("RGB", (64, 48)).save(folder / "data" / "masks" / "3.png")
    with pytest.raises(BadData, match="not class indices"):
        qk.calibrate(folder / "m.onnx", folder / "data")


def test_masks_that_are_no_png_are_no_class_of_images(folder: Path) -> None:
    for file in (folder / "data" / "masks").iterdir():
        Image.open(file).save(file.with_suffix(".jpg"))
        file.unlink()
    with pytest.raises(BadData, match=r"No image in .*images has a mask in .*masks.* as a PNG"):
        qk.calibrate(folder / "m.onnx", folder / "data")


def test_a_damaged_mask_is_an_error(folder: Path) -> None:
    (folder / "data" / "masks" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"junk" * 10)
    with pytest.raises(BadData, match="cannot be read"):
        qk.calibrate(folder / "m.onnx", folder / "data")


def test_a_class_that_the_model_does_not_have_is_an_error(folder: Path) -> None:
    Image.fromarray(np.full((48, 64), 7, np.uint8)).save(folder / "data" / "masks" / "0.png")
    (folder / "data" / "classes.txt").unlink()
    calibration = qk.calibrate(folder / "m.onnx", folder / "data")
    with pytest.raises(BadData, match="has the class 7"):
        qk.compare(calibration, folder / "data", targets="onnxruntime", precisions="int8")


def argmaxed() -> onnx.ModelProto:
    """The segmenter with its classes' indices as its output."""
    model = segmenter()
    model.graph.node.append(helper.make_node("ArgMax", ["map"], ["indices"], name="a", axis=1, keepdims=0))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("indices", TensorProto.INT64, ["N", 24, 32]))
    return model


def test_as_many_names_as_classes(folder: Path) -> None:
    calibration = qk.calibrate(folder / "m.onnx", folder / "data" / "images", samples=8)
    (folder / "data" / "classes.txt").write_text("wall\ntree\n")
    with pytest.raises(BadData, match="names 2 classes, but the model has 3"):
        qk.compare(calibration, folder / "data", targets=["onnxruntime"], task="segmentation")


def test_a_map_of_indices_is_judged_as_one_of_scores_is(tmp_path: Path) -> None:
    """Images in which the model gives other classes than the mask has, or fewer, count like all others."""
    scenes(tmp_path / "data", 6)
    gray = Image.fromarray(np.full((48, 64, 3), COLOURS[0], np.uint8))
    gray.save(tmp_path / "data/images/0.png")  # nothing but class 0 is found, and the mask has all
    found = []
    for model in (segmenter(), argmaxed()):
        onnx.save(model, tmp_path / "m.onnx")
        calibration = qk.calibrate(tmp_path / "m.onnx", tmp_path / "data", preprocess="zero-to-one")
        compared = qk.compare(calibration, tmp_path / "data", targets="onnxruntime", precisions="int8")
        found.append([compared.rows[0].metrics[name].value for name in ("miou", "pixels")])
    assert found[0] == pytest.approx(found[1])


def _warnings(folder: Path, model: onnx.ModelProto) -> str:
    onnx.save(model, folder / "m.onnx")
    calibration = qk.calibrate(folder / "m.onnx", folder / "data", preprocess="zero-to-one")
    return " ".join(qk.compare(calibration, folder / "data", targets="onnxruntime", precisions="int8").warnings)


def test_a_class_that_later_masks_have_is_warned_of(folder: Path) -> None:
    (folder / "data" / "classes.txt").unlink()
    assert "classes" not in _warnings(folder, segmenter())
    Image.fromarray(np.full((48, 64), 7, np.uint8)).save(folder / "data" / "masks" / "9.png")
    assert "such as 7 in 1: these pixels are not judged" in _warnings(folder, segmenter())


def test_masks_of_0_and_255_do_for_a_foreground_alone(tmp_path: Path) -> None:
    scenes(tmp_path / "data", 6)
    for file in (tmp_path / "data" / "masks").iterdir():
        Image.fromarray(np.where(np.asarray(Image.open(file)) == 1, 255, 0).astype(np.uint8)).save(file)
    assert "the masks have only class 0" in _warnings(tmp_path, segmenter(2))
    assert "255" not in _warnings(tmp_path, segmenter(1))


def test_a_foreground_without_a_sigmoid_is_warned_of(tmp_path: Path) -> None:
    scenes(tmp_path / "data", 6)
    assert "before a sigmoid" not in _warnings(tmp_path, segmenter(1))
    model = segmenter(1)
    del model.graph.node[-1]
    model.graph.node[-1].output[0] = "map"
    assert "before a sigmoid" in _warnings(tmp_path, model)


def test_no_output_like_a_map_is_an_error(tmp_path: Path, model_path: Path, images: Path) -> None:
    with pytest.raises(BadConfig, match="of the shape of a map"):
        qk.compare(qk.calibrate(model_path, images), images, task="segmentation", targets="onnxruntime")


def test_a_folder_with_boxes_and_masks_is_opened_for_the_task(folder: Path) -> None:
    """As a whole Pascal VOC is."""
    data = folder / "data"
    (data / "images").rename(data / "JPEGImages")
    (data / "masks").rename(data / "SegmentationClass")
    (data / "Annotations").mkdir()
    for number in range(12):
        (data / "Annotations" / f"{number}.xml").write_text(
            f"<annotation><filename>{number}.png</filename><object><name>tree</name><bndbox><xmin>1</xmin>"
            "<ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"
        )
    calibration = qk.calibrate(folder / "m.onnx", data, preprocess="zero-to-one")
    found = qk.compare(calibration, data, task="segmentation", targets="onnxruntime", precisions="int8")
    assert found.rows[1].metrics["miou"].value > 0.9
