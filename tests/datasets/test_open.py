from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantkit.core.errors import BadInput
from quantkit.core.preprocess import Preprocess
from quantkit.core.presets import PRESETS
from quantkit.datasets import OpenedData, Stream, open_dataset
from quantkit.graph.model_io import ModelInput

INPUT = (ModelInput("input", ("N", 3, 16, 16), "float32"),)
DEFAULT = PRESETS["imagenet-stretch"]


def opened(path: Path, inputs: tuple[ModelInput, ...] = INPUT, **options: object) -> OpenedData:
    return open_dataset(path, inputs, DEFAULT, **options)  # type: ignore[arg-type]


def chosen(data: OpenedData) -> list[str]:
    return [data.dataset.names[i] for i in data.indices]


def labels_of(data: OpenedData) -> list[str]:
    assert data.dataset.annotations is not None
    return [data.dataset.classes[data.dataset.annotations[i]] for i in data.indices]


def test_class_folders_sorted_by_name_are_the_classes(images: Path) -> None:
    data = opened(images)
    assert tuple(data.dataset.classes) == ("blue", "green", "red")
    assert all(name.startswith(label) for name, label in zip(chosen(data), labels_of(data), strict=True))


def test_the_choice_is_balanced_seeded_and_without_repeats(images: Path) -> None:
    for name in ("0.png", "1.png", "2.png", "3.png"):
        (images / "red" / name).unlink()
    first = opened(images, samples=9, seed=1)
    assert Counter(labels_of(first)) == {"blue": 4, "green": 3, "red": 2} or Counter(labels_of(first)) == {
        "blue": 3,
        "green": 4,
        "red": 2,
    }
    assert len(set(chosen(first))) == 9
    assert chosen(opened(images, samples=9, seed=1)) == chosen(first)
    assert chosen(opened(images, samples=9, seed=2)) != chosen(first)


def test_a_flat_folder_is_unlabelled(images: Path, tmp_path: Path) -> None:
    data = opened(images / "red")
    assert data.dataset.annotations is None
    assert len(data.indices) == 6


@pytest.mark.parametrize("header", ["", "file,class\n"])
def test_a_flat_folder_is_labelled_by_a_csv(images: Path, header: str) -> None:
    flat = images / "red"
    (flat / "labels.csv").write_text(header + "0.png,red\n1.png,blue\n2.png,green\n")
    data = opened(flat)
    by_name = dict(zip(data.dataset.names, data.dataset.annotations, strict=True))  # type: ignore[arg-type]
    assert [by_name[f"{i}.png"] for i in range(4)] == [2, 0, 1, None]


def test_numbers_in_a_csv_are_indices(images: Path) -> None:
    labels = images / "red" / "mine.csv"
    labels.write_text("0.png,7\n1.png,2\n")
    data = opened(images / "red", labels=labels)
    assert sorted(a for a in data.dataset.annotations or () if a is not None) == [2, 7]


def test_a_list_is_taken_in_its_order_from_its_start(images: Path, tmp_path: Path) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text("imgs/red/1.png\nimgs/blue/0.png\n\nimgs/green/2.png\tblue\nimgs/red/3.png\n")
    data = opened(listing, samples=3)
    assert chosen(data) == ["imgs/red/1.png", "imgs/blue/0.png", "imgs/green/2.png"]
    assert labels_of(data) == ["red", "blue", "blue"]


def test_classes_given_set_the_order_and_refuse_others(images: Path) -> None:
    data = opened(images, classes=["red", "green", "blue"])
    assert tuple(data.dataset.classes) == ("red", "green", "blue")
    with pytest.raises(BadInput, match="'blue'"):
        opened(images, classes=["red", "green"])


def test_fewer_images_than_asked_for_is_noted(images: Path) -> None:
    data = opened(images, samples=100)
    assert len(data.indices) == 18
    assert any("where up to 100 would be" in warning for warning in data.warnings)


def test_hidden_and_other_files_are_left_out(images: Path) -> None:
    (images / "red" / ".hidden.png").write_bytes(b"")
    (images / ".git").mkdir()
    shutil.copy(images / "red" / "0.png", images / ".git" / "0.png")
    (images / "red" / "notes.txt").write_text("")
    (images / "red" / "Thumbs.db").write_bytes(b"")
    assert len(opened(images).indices) == 18


def test_hostile_names_are_just_names(tmp_path: Path) -> None:
    folder = tmp_path / "imgs" / "<script>alert(1)"
    folder.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "a\tb\n'\";$(x).png")
    data = opened(tmp_path / "imgs")
    assert [b.indices for b in Stream(data.dataset, data.indices).batches(4)] == [[0]]


def test_names_that_are_not_utf8_are_shown_as_escapes(tmp_path: Path) -> None:
    folder = tmp_path / "imgs" / os.fsdecode(b"cl\xffss")
    folder.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / os.fsdecode(b"\xfe.png"))
    data = opened(tmp_path / "imgs")
    assert chosen(data) == ["cl\\udcffss/\\udcfe.png"]
    assert len(list(Stream(data.dataset, data.indices).batches(1))) == 1


@pytest.mark.parametrize("make", ["nothing", "empty", "texts"])
def test_folders_without_images_are_bad_input(tmp_path: Path, make: str) -> None:
    folder = tmp_path / "f"
    if make != "nothing":
        folder.mkdir()
    if make == "texts":
        (folder / "a.txt").write_text("")
    with pytest.raises(BadInput, match=r"no file or folder|is empty|holds no images"):
        opened(folder)


def test_a_binary_file_as_data_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(BadInput, match="not a text file"):
        opened(tmp_path / "x.bin")


def test_npy_feeds_the_only_input_as_it_stands(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((5, 3, 16, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    data = opened(tmp_path / "x.npy")
    (batch,) = Stream(data.dataset, data.indices).batches(8)
    assert np.array_equal(batch.inputs["input"], values)


def test_uint8_pixels_in_an_npy_are_preprocessed(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((2, 20, 20, 3), 255, np.uint8))
    data = opened(tmp_path / "x.npy")
    (batch,) = Stream(data.dataset, data.indices).batches(8)
    assert batch.inputs["input"].shape == (2, 3, 16, 16)
    assert batch.inputs["input"][0, 0, 0, 0] == pytest.approx((1 - 0.485) / 0.229)


def test_npz_feeds_several_inputs_and_labels(tmp_path: Path) -> None:
    inputs = (ModelInput("a", ("N", 4), "float32"), ModelInput("ids", ("N", 2), "int64"))
    np.savez_compressed(tmp_path / "x.npz", a=np.ones((3, 4)), ids=np.ones((3, 2), int), labels=np.array([0, 1, 0]))
    data = opened(tmp_path / "x.npz", inputs)
    (batch,) = Stream(data.dataset, data.indices).batches(3)
    assert (batch.inputs["a"].dtype, batch.inputs["ids"].dtype) == (np.float32, np.int64)
    assert list(data.dataset.annotations) == [0, 1, 0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": np.ones((2, 3)), "more": np.ones((2, 3))}, "no array for the model input"),
        ({"input": np.ones((2, 5, 16, 16))}, "the model takes"),
        ({"input": np.ones((0, 3, 16, 16))}, "empty"),
        ({"input": np.ones((2, 3, 16, 16)), "labels": np.ones(3, int)}, "differ in length"),
        ({"input": np.ones((2, 3, 16, 16)), "labels": np.array([0, -2])}, "label -2"),
        ({"input": np.array(["a", "b"])}, "readable"),
    ],
)
def test_arrays_that_do_not_fit_are_bad_input(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(BadInput, match=message):
        opened(tmp_path / "x.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", b"\x93NUMPY"])
def test_damaged_array_files_are_bad_input(tmp_path: Path, content: bytes) -> None:
    for name in ("x.npz", "x.npy"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match="readable"):
            opened(tmp_path / name)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BadInput):
        opened(tmp_path / "x.npy")


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        (("N", 1, 16, 16), DEFAULT, "takes 1 channels"),
        (("N", 3, 16, 16), PRESETS["gray"], "makes 1"),
        (("N", 128), DEFAULT, "not that of a batch of images"),
        (("N", 7, 16, 16), DEFAULT, "neither its second nor its last"),
        (("N", 3, 16, 16), Preprocess(size=(32, 32)), "is 16x16"),
    ],
)
def test_preprocessing_that_contradicts_the_model_is_bad_input(
    images: Path, shape: tuple[int | str, ...], settings: Preprocess, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        open_dataset(images, (ModelInput("input", shape, "float32"),), settings)


def test_nhwc_and_dynamic_sizes_are_seen(images: Path) -> None:
    data = open_dataset(images, (ModelInput("input", ("N", 16, 16, 3), "float32"),), DEFAULT)
    assert data.dataset.load(0)[0]["input"].shape == (16, 16, 3)
    data = open_dataset(images, (ModelInput("input", ("N", 3, "H", "W"), "float32"),), DEFAULT)
    assert data.dataset.load(0)[0]["input"].shape == (3, 224, 224)
    assert any("dynamic" in note for note in data.notes)


def test_images_do_not_feed_two_inputs(images: Path) -> None:
    with pytest.raises(BadInput, match="2 inputs"):
        opened(images, INPUT * 2)


def test_a_few_unreadable_images_are_skipped_and_named(images: Path) -> None:
    for number in range(10, 40):
        shutil.copy(images / "red" / "0.png", images / "red" / f"{number}.png")
    (images / "red" / "0.png").write_text("text")
    data = opened(images)
    stream = Stream(data.dataset, data.indices)
    count = sum(len(batch.indices) for batch in stream.batches(7))
    assert count == 47
    assert [stream.names[i] for i in stream.skipped] == ["red/0.png"]


def test_too_many_unreadable_images_are_bad_input(images: Path) -> None:
    (images / "red" / "0.png").write_text("text")
    data = opened(images, samples=18)
    with pytest.raises(BadInput, match=r"red/0\.png \(not an image\)"):
        list(Stream(data.dataset, data.indices).batches(4))


def test_the_hash_depends_on_content_and_order_alone(images: Path, tmp_path: Path) -> None:
    def sha(root: Path, order: list[int]) -> str:
        stream = Stream(opened(root).dataset, order)
        list(stream.batches(4))
        return stream.sha256()

    copy = shutil.copytree(images, tmp_path / "copy")
    assert sha(images, [0, 1, 2]) == sha(copy, [0, 1, 2]) != sha(images, [0, 2, 1])
    Image.new("RGB", (4, 4)).save(copy / "blue" / "1.png")
    assert sha(images, [0, 1, 2]) != sha(copy, [0, 1, 2])
