"""What is said of a calibration after its pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import quantkit
from quantkit.core.presets import PRESETS
from quantkit.core.statistics.collected import Collected
from quantkit.core.statistics.extent import Extent
from quantkit.core.statistics.histogram import BINS, Histogram
from quantkit.datasets import open_dataset
from quantkit.graph.model_io import ModelInput
from quantkit.pipeline.calibration.warnings import warnings_after
from tests.conftest import tiny_model, write_images

NAMES = [f"{number}.png" for number in range(20)]
NOTHING = np.zeros(BINS + 1, np.int64)


def steady(count: int = 100) -> np.ndarray:
    """Inputs of which ten different ones come again and again, ever so little smaller."""
    base = np.random.default_rng(2).standard_normal((10, 3, 16, 16))
    return np.stack([base[i % 10] * (1 - 1e-4 * i) for i in range(count)]).astype(np.float32)


def warnings_of(tmp_path: Path, model_path: Path, inputs: np.ndarray) -> tuple[str, ...]:
    np.save(tmp_path / "data.npy", inputs)
    return quantkit.calibrate(model_path, tmp_path / "data.npy", samples=len(inputs)).warnings


def in_order(tmp_path: Path, inputs: np.ndarray) -> np.ndarray:
    """The samples' numbers in the order in which they are taken."""
    np.save(tmp_path / "data.npy", inputs)
    spec = ModelInput("input", ("N", 3, 16, 16), "float32")
    return open_dataset(tmp_path / "data.npy", (spec,), PRESETS["imagenet-stretch"], len(inputs)).indices


def of_maxima(maxima: dict[str, list[float]]) -> Collected:
    """Tensors from 0 to such a value for each image."""
    extents, histograms = {}, {}
    for name, values in maxima.items():
        extents[name] = Extent()
        for position, value in enumerate(values):
            extents[name] = extents[name].merged(Extent.of(0.0, value, position, len(values)))
        histograms[name] = Histogram(NOTHING, NOTHING, 1.0, 0.0, max(values))
    return Collected(histograms, {}, extents)


def test_nothing_is_said_of_a_steady_set(tmp_path: Path, model_path: Path) -> None:
    assert warnings_of(tmp_path, model_path, steady()) == ()


def test_ranges_that_grew_in_the_last_tenth_are_named(tmp_path: Path, model_path: Path) -> None:
    inputs = steady()
    inputs[in_order(tmp_path, inputs)[90:]] *= 1.4  # all ten, so that none is alone
    (sentence,) = warnings_of(tmp_path, model_path, inputs)
    assert "still grew in the last tenth of the images" in sentence
    assert "further: pool (by 3" in sentence


@pytest.mark.parametrize("place", [0, 40, 80])
def test_growth_before_the_last_tenth_is_no_matter(tmp_path: Path, model_path: Path, place: int) -> None:
    inputs = steady()
    inputs[in_order(tmp_path, inputs)[place : place + 10]] *= 1.4
    assert warnings_of(tmp_path, model_path, inputs) == ()


def test_growing_ranges_come_worst_first_and_those_under_five_percent_not_at_all() -> None:
    ends = {"still": 1.0, "little": 1.04, "some": 1.1, "most": 1.4, "much": 1.2}
    found = warnings_after(NAMES, {}, of_maxima({name: [1.0] * 18 + [end] * 2 for name, end in ends.items()}))
    (sentence,) = found
    assert sentence.startswith("The ranges of 3 tensors still grew")
    assert sentence.endswith("further: most (by 29%), much (by 17%), some (by 9%).")


def test_a_single_sample_cannot_show_growth() -> None:
    assert warnings_after(NAMES[:1], {}, of_maxima({"x": [3.0]})) == []


def test_the_image_that_alone_sets_ranges_is_named_with_the_tensors(tmp_path: Path, model_path: Path) -> None:
    inputs = steady()
    inputs[37] *= 4
    (sentence,) = warnings_of(tmp_path, model_path, inputs)
    assert "A single image sets the min-max range of" in sentence
    assert "at over 1.5 times what any other reaches: data.npy[37] (input, " in sentence


def test_one_bright_picture_among_files_is_named(tmp_path: Path, model_path: Path) -> None:
    from PIL import Image

    images = write_images(tmp_path / "dark", per_class=35)
    for file in images.rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(file)) // 8).save(file)
    Image.new("RGB", (20, 20), (255, 255, 255)).save(images / "green" / "7.png")
    warnings = quantkit.calibrate(model_path, images, preprocess="zero-to-one").warnings
    (sentence,) = [w for w in warnings if "single image" in w]
    assert "green/7.png (input, " in sentence
    assert "red/" not in sentence


def test_the_image_with_most_tensors_comes_first_and_no_more_than_three() -> None:
    maxima = {}
    for name, image in {"a": 3, "b": 5, "c": 5, "d": 7, "e": 9}.items():
        values = [1.0] * 20
        values[image] = 1.6
        maxima[name] = values
    (sentence,) = warnings_after(NAMES, {}, of_maxima(maxima))
    assert "range of 5 tensors" in sentence
    assert sentence.endswith("reaches: 5.png (b, c); 3.png (a); 7.png (d) and others.")


def test_one_and_a_half_times_the_others_is_no_finding_yet() -> None:
    assert warnings_after(NAMES, {}, of_maxima({"x": [1.0] * 9 + [1.5] + [1.0] * 10})) == []


def test_the_lone_image_keeps_its_name_when_others_could_not_be_read(tmp_path: Path, model_path: Path) -> None:
    from PIL import Image

    images = write_images(tmp_path / "dark", per_class=35)
    for file in images.rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(file)) // 8).save(file)
    Image.new("RGB", (20, 20), (255, 255, 255)).save(images / "green" / "7.png")
    for number in range(4):
        (images / "blue" / f"{number}.png").write_text("text")
    calibration = quantkit.calibrate(model_path, images, preprocess="zero-to-one")
    assert calibration.samples == 101
    assert set(calibration.data.skipped) == {f"blue/{number}.png" for number in range(4)}
    (skipped,) = [w for w in calibration.warnings if "could not be read" in w]
    assert skipped.startswith("4 of 105 images could not be read and were skipped: blue/")
    (alone,) = [w for w in calibration.warnings if "single image" in w]
    assert "green/7.png (" in alone


def test_dead_tensors_are_named(tmp_path: Path) -> None:
    proto = tiny_model()
    for tensor in proto.graph.initializer:
        if tensor.name in ("w2", "b2"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 0, tensor.name))
    onnx.save(proto, tmp_path / "dead.onnx")
    assert warnings_of(tmp_path, tmp_path / "dead.onnx", steady()) == ("1 tensors were zero for every image: conv2.",)


def test_long_lists_are_cut_after_five() -> None:
    skipped = dict.fromkeys(range(7), "not an image")
    (sentence,) = warnings_after(NAMES, skipped, of_maxima({"x": [1.0] * 20}))
    assert sentence.startswith("7 of 20 images could not be read and were skipped: 0.png (not an image), 1.png")
    assert sentence.endswith("4.png (not an image) and 2 more.")
