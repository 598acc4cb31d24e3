"""Preprocessing inside OpenVINO's IR: what the file gives, and that it does not outlive what it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantkit.core.preprocess import Preprocess
from quantkit.core.presets import preset
from quantkit.datasets.transform import transform
from tests.conftest import Quantkit

openvino = pytest.importorskip("openvino")
EMBED = ("export", "run", "--target", "openvino", "--embed-preprocessing")


@pytest.mark.parametrize("name", ["imagenet-stretch", "yolo", "imagenet", "raw", "caffe"])
def test_outputs_are_those_of_prepared_images(
    invoked: Quantkit, tmp_path: Path, model_path: Path, images: Path, name: str
) -> None:
    words = ("calibrate", model_path, "--data", images, "--preprocess", name, "-o", "run", "--no-export")
    assert invoked(*words).returncode == 0
    done = invoked(*EMBED, "--precision", "fp32")
    assert done.returncode == 0, done.stderr
    assert "takes u8 pixels, NHWC" in done.stderr
    folder = tmp_path / "run/artifacts/openvino/fp32"
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    files = ("model.xml", "model_u8.xml")
    plain, embedded = (openvino.Core().compile_model(folder / file, "CPU", exact) for file in files)
    own: Preprocess = preset(name).model_copy(update={"size": (16, 16), "layout": "nchw"})
    image = Image.open(next(images.rglob("*.png"))).convert("RGB")
    wanted = plain({0: transform(image, own)[None]})[0]
    if own.resize != "stretch":  # it takes images that are cropped or letterboxed
        pixels = preset("raw").model_copy(
            update={"size": (16, 16), "layout": "nhwc", "resize": own.resize, "crop_pct": own.crop_pct}
        )
        image = Image.fromarray(transform(image, pixels).astype(np.uint8))
    found = embedded({0: np.asarray(image)[None]})[0]
    assert found == pytest.approx(wanted, abs=0.005 * float(np.abs(wanted).max()))  # a resized pixel may be off by one


def test_it_goes_with_what_it_was_made_from(invoked: Quantkit, tmp_path: Path, model_path: Path, images: Path) -> None:
    assert invoked("calibrate", model_path, "--data", images, "-o", "run").returncode == 0
    assert invoked(*EMBED).returncode == 0
    file = tmp_path / "run/artifacts/openvino/int8/model_u8.xml"
    assert file.is_file()
    done = invoked("calibrate", "--method", "minmax", "-o", "run")
    assert done.returncode == 0
    assert "did not write" not in done.stderr
    assert not file.exists()
    assert (tmp_path / "run/artifacts/openvino/int8/model.xml").is_file()


def test_a_file_of_the_users_stays(invoked: Quantkit, tmp_path: Path, model_path: Path, images: Path) -> None:
    assert invoked("calibrate", model_path, "--data", images, "-o", "run").returncode == 0
    file = tmp_path / "run/artifacts/openvino/int8/model_u8.xml"
    file.write_text("mine")
    done = invoked(*EMBED)
    assert done.returncode == 2
    assert "did not write (model_u8.xml)" in done.stderr
    assert file.read_text() == "mine"
