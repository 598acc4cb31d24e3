"""What is said of calibration data before the pass."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantkit.core.errors import BadInput
from quantkit.core.presets import PRESETS
from quantkit.datasets import open_dataset
from quantkit.datasets.checks import warnings_before
from quantkit.graph.model_io import ModelInput
from tests.conftest import write_images

INPUT = ModelInput("input", ("N", 3, 16, 16), "float32")
RNG = np.random.default_rng(5)


def said(data: Path, *inputs: ModelInput, preset: str = "imagenet-stretch") -> list[str]:
    opened = open_dataset(data, inputs or (INPUT,), PRESETS[preset])
    return warnings_before(opened.dataset, [int(index) for index in opened.indices])


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    return write_images(tmp_path / "clean", per_class=40)


def noise(file: Path, height: int = 20, width: int = 20, **options: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(file, **options)


def test_nothing_is_said_of_a_balanced_varied_set(clean: Path) -> None:
    assert said(clean) == []


def test_a_small_set_is_noted_from_the_hundredth_image_on_no_more(clean: Path) -> None:
    for number in range(34, 40):
        for name in ("blue", "green", "red"):
            (clean / name / f"{number}.png").unlink()
    assert said(clean) == []  # 102
    for number in range(33, 34):
        for name in ("blue", "green", "red"):
            (clean / name / f"{number}.png").unlink()
    (few,) = said(clean)
    assert few.startswith("99 samples are few: ranges are seldom settled with fewer than 100. With 20 instead of 100, ")


def test_copies_are_named_and_counted_whatever_they_are_called(clean: Path) -> None:
    shutil.copy(clean / "red" / "0.png", clean / "green" / "copy.png")
    shutil.copy(clean / "red" / "0.png", clean / "red" / "again.png")
    (sentence,) = said(clean)
    assert sentence.startswith("2 of 122 images are copies of others: ")
    named = set(sentence.split(": ")[1].rstrip(".").split(", "))
    assert named < {
        "green/copy.png",
        "red/again.png",
        "red/0.png",
    }  # whichever of the three was chosen first is not one
    assert len(named) == 2


def test_a_file_that_a_list_names_twice_is_a_copy(clean: Path) -> None:
    names = [path.relative_to(clean).as_posix() for path in sorted(clean.rglob("*.png"))]
    (clean / "list.txt").write_text("\n".join([*names, names[3]]))
    assert said(clean / "list.txt") == [f"1 of 121 images are copies of others: {names[3]}."]


def test_files_of_equal_length_are_no_copies(tmp_path: Path) -> None:
    for number in range(100):
        noise(tmp_path / "flat" / f"{number}.bmp")
    assert len({file.stat().st_size for file in (tmp_path / "flat").iterdir()}) == 1
    assert said(tmp_path / "flat") == []


@pytest.mark.parametrize(
    ("sizes", "dominant"),
    [
        ({"cat": 60, "dog": 30, "eel": 30}, False),
        ({"cat": 61, "dog": 30, "eel": 29}, True),
        ({"cat": 96, "dog": 24}, False),  # of two classes one may have four fifths
        ({"cat": 97, "dog": 23}, True),
        ({"cat": 120}, True),
    ],
)
def test_a_dominant_class_is_named(tmp_path: Path, sizes: dict[str, int], dominant: bool) -> None:
    for name, count in sizes.items():
        for number in range(count):
            noise(tmp_path / "data" / name / f"{number}.png", 4, 4)
    sentences = said(tmp_path / "data")
    assert len(sentences) == dominant
    for sentence in sentences:
        assert f"{sizes['cat'] / 120:.0%} of the labelled images are of one class, cat:" in sentence


def test_labels_of_an_npz_can_be_dominated_too(tmp_path: Path) -> None:
    pixels = RNG.standard_normal((120, 3, 16, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", input=pixels, labels=np.array([4] * 70 + [1] * 30 + [0] * 20))
    (sentence,) = said(tmp_path / "data.npz")
    assert "58% of the labelled images are of one class, 4:" in sentence


@pytest.mark.parametrize("size", [(20, 20), (1, 1), (1500, 2001)])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.bmp", {}),
        ("a.webp", {"lossless": True}),
        ("a.jpg", {}),
        ("a.jpeg", {"quality": 100, "subsampling": 0}),
    ],
)
def test_images_of_one_colour_are_named(clean: Path, name: str, options: dict[str, int], size: tuple[int, int]) -> None:
    Image.new("RGB", size, (10, 200, 30)).save(clean / "red" / name, **options)
    assert said(clean) == [f"1 of 121 images are of one colour: red/{name}."]


@pytest.mark.parametrize("suffix", ["png", "bmp", "jpg", "webp"])
def test_an_image_that_is_nearly_of_one_colour_is_not(clean: Path, suffix: str) -> None:
    pixels = np.full((300, 300, 3), 128, np.uint8)
    pixels[290:, 290:] = 255
    Image.fromarray(pixels).save(clean / "red" / f"a.{suffix}")
    assert said(clean) == []


def test_what_differs_in_transparency_or_in_sixteen_bits_is_not_of_one_colour(clean: Path) -> None:
    pixels = np.zeros((20, 20, 4), np.uint8)
    pixels[5:15, 5:15, 3] = 255  # a black square; the rest is see-through
    Image.fromarray(pixels, "RGBA").save(clean / "red" / "a.png")
    deep = (np.arange(400, dtype=np.uint16) * 100 + 5000).reshape(20, 20)
    Image.fromarray(deep).save(clean / "red" / "b.png")
    assert (clean / "red" / "b.png").stat().st_size < 1000  # small enough to be looked at
    assert said(clean) == []


def test_smooth_photographs_are_not_of_one_colour(tmp_path: Path) -> None:
    for number in range(100):
        x, y = np.meshgrid(np.linspace(0, 1, 90), np.linspace(0, 1, 70))
        channels = [127 + 100 * np.sin(a * x + b * y + c) for a, b, c in RNG.uniform(0, 5, (3, 3))]
        file = tmp_path / "data" / f"{number}.jpg"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(np.stack(channels, -1).astype(np.uint8)).save(file, quality=50)
    assert said(tmp_path / "data") == []


def test_constant_arrays_are_named(tmp_path: Path) -> None:
    values = RNG.standard_normal((110, 3, 16, 16)).astype(np.float32)
    values[7] = 0.5
    np.save(tmp_path / "data.npy", values)
    assert said(tmp_path / "data.npy") == ["1 of 110 images are of one colour: data.npy[7]."]


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_pixels_given_as_ready_inputs_are_doubted(tmp_path: Path, layout: str) -> None:
    shape = (3, 16, 16) if layout == "nchw" else (16, 16, 3)
    np.save(tmp_path / "data.npy", RNG.uniform(0, 255, (110, *shape)).astype(np.float32))
    spec = ModelInput("input", ("N", *shape), "float32")
    (sentence,) = said(tmp_path / "data.npy", spec)
    assert sentence.startswith("Inputs reach 25")
    assert sentence.endswith("makes 2.64 at most: they may lack normalisation.")
    assert said(tmp_path / "data.npy", spec, preset="raw") == []  # which makes 0 to 255
    np.save(tmp_path / "data.npy", RNG.normal(0, 1.5, (110, *shape)).astype(np.float32))
    assert said(tmp_path / "data.npy", spec) == []


def test_inputs_that_are_no_images_may_be_of_any_size(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", RNG.uniform(0, 1000, (110, 40)).astype(np.float32))
    assert said(tmp_path / "data.npy", ModelInput("x", ("N", 40), "float32")) == []


def test_uint8_pixels_are_preprocessed_and_not_doubted(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", RNG.integers(0, 255, (110, 20, 20, 3), dtype=np.uint8))
    assert said(tmp_path / "data.npy") == []


def test_unreadable_and_missing_files_break_no_check(clean: Path) -> None:
    whole = (clean / "red" / "1.png").read_bytes()
    (clean / "red" / "2.png").write_bytes(whole[: len(whole) // 2])
    (clean / "red" / "3.png").write_text("text")
    (clean / "red" / "4.png").write_text("text")  # copies all the same
    (clean / "red" / "5.png").write_bytes(b"")
    (clean / "red" / "6.png").write_bytes(b"")
    names = [path.relative_to(clean).as_posix() for path in sorted(clean.rglob("*.png"))]
    (clean / "list.txt").write_text("\n".join([*names, "red/gone.png", "red/missing.png", "red/\0.png"]))
    assert said(clean / "list.txt") == ["1 of 123 images are copies of others: red/4.png."]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read_break_no_check(clean: Path) -> None:
    for name in ("0.png", "1.png"):
        shutil.copy(clean / "red" / "2.png", clean / "red" / name)
        (clean / "red" / name).chmod(0)
    assert said(clean) == []


@pytest.mark.parametrize("depth", [1, 3, 4])
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_works_on_every_model_or_says_what_it_needs(tmp_path: Path, name: str, depth: int) -> None:
    images = write_images(tmp_path / "imgs", per_class=2)
    spec = [ModelInput("input", ("N", depth, 16, 16), "float32")]
    if PRESETS[name].depth != depth:
        with pytest.raises(BadInput, match=rf"takes {depth} channels.*(\[preprocess\]|\.npy)"):
            open_dataset(images, spec, PRESETS[name])
        return
    data = open_dataset(images, spec, PRESETS[name])
    assert not any("normalisation" in text for text in warnings_before(data.dataset, [int(i) for i in data.indices]))
    assert data.dataset.load(0)[0]["input"].shape == (depth, 16, 16)
