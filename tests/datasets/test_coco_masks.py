"""COCO's polygons and run lengths as masks: equal to what pycocotools encoded, refused where they are damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from quantkit.core.errors import BadData
from quantkit.core.presets import preset
from quantkit.datasets import OpenedData, open_dataset
from quantkit.datasets.mask import Mask
from quantkit.graph.model_io import ModelInput

coco = pytest.importorskip("pycocotools.mask")
pytest.importorskip("faster_coco_eval")

HEIGHT, WIDTH = 20, 30
INPUTS = [ModelInput("x", ("N", 3, HEIGHT, WIDTH), "float32")]


def truth() -> np.ndarray[Any, Any]:
    """A mask of classes 0 and 1, and of pixels without a class."""
    mask = np.full((HEIGHT, WIDTH), 255, np.int32)
    mask[2:12, 3:20] = 0
    mask[5:9, 6:10] = 1
    return mask


def run_lengths(pixels: np.ndarray[Any, Any], compressed: bool) -> dict[str, Any]:
    if compressed:
        found = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))
        return {"size": found["size"], "counts": found["counts"].decode()}
    flat = np.concatenate([[0], pixels.T.ravel().astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flat))
    bounds = np.unique([0, *edges, pixels.size]) if edges[0] else np.unique([*edges, pixels.size])
    counts = np.diff(bounds).tolist()
    return {"size": list(pixels.shape), "counts": counts if edges[0] else [0, *counts]}


def written(
    folder: Path, segmentations: list[Any], names: tuple[str, ...] = ("sky", "tree"), name: str = "stuff"
) -> Path:
    """A folder with one image and its annotations, the last of which is the smallest."""
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").mkdir()
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / "images" / "a.png")
    annotations = [
        {"id": number + 1, "image_id": 7, "category_id": number + 92, "segmentation": own, "area": 100 - number}
        for number, own in enumerate(segmentations)
    ]
    document = {
        "images": [{"id": 7, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": annotations[::-1],
        "categories": [{"id": number + 92, "name": own} for number, own in enumerate(names)],
    }
    (folder / "annotations" / f"{name}_val.json").write_text(json.dumps(document))
    return folder


def opened(path: Path, classes: list[str] | None = None) -> OpenedData:
    return open_dataset(path, INPUTS, preset("raw"), classes=classes, task="segmentation")


def mask_of(data: OpenedData) -> np.ndarray[Any, Any]:
    (mask,) = data.dataset.annotations or ()
    assert isinstance(mask, Mask)
    return mask.load()


@pytest.mark.parametrize("form", ["compressed", "lengths", "polygons"])
@pytest.mark.parametrize("name", ["stuff", "instances"])
def test_masks_are_what_was_encoded(form: str, name: str, tmp_path: Path) -> None:
    sky, tree = truth() != 255, truth() == 1
    segmentations: list[Any] = [run_lengths(own, form == "compressed") for own in (sky, tree)]
    if form == "polygons":
        segmentations = [[[3, 2, 20, 2, 20, 12, 3, 12]], [[6, 5, 10, 5, 10, 9, 6, 9]]]
    np.testing.assert_array_equal(mask_of(opened(written(tmp_path / "d", segmentations, name=name))), truth())


def test_pixels_without_an_object_are_of_the_class_that_is_called_background(tmp_path: Path) -> None:
    folder = written(tmp_path / "d", [run_lengths(truth() == 0, True)], ("tree",))
    found = mask_of(opened(folder, ["background", "tree"]))
    np.testing.assert_array_equal(found, truth() == 0)


def test_one_category_is_a_foreground(tmp_path: Path) -> None:
    data = opened(written(tmp_path / "d", [run_lengths(truth() == 0, True)], ("tree",)))
    np.testing.assert_array_equal(mask_of(data), truth() == 0)
    assert list(data.dataset.classes) == ["background", "tree"]


def test_without_a_background_such_pixels_are_not_judged_and_that_is_said(tmp_path: Path) -> None:
    data = opened(written(tmp_path / "d", [run_lengths(truth() == own, True) for own in (0, 1)]))
    assert any("not judged" in note for note in data.notes)


def test_for_detection_the_same_file_is_boxes(tmp_path: Path) -> None:
    folder = written(tmp_path / "d", [run_lengths(truth() == own, True) for own in (0, 1)])
    file = folder / "annotations" / "stuff_val.json"
    with pytest.raises(BadData, match="without a bbox"):
        open_dataset(file, INPUTS, preset("raw"), task="detection")


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        (None, "without a segmentation"),
        ([], "without a segmentation"),
        ([[1, 2, 3, 4]], "without a segmentation"),
        ([[1, 2, 3, 4, 5, float("nan")]], "without a segmentation"),
        ([[1, 2, 3, 4, 5, "6"]], "without a segmentation"),
        ({"size": [HEIGHT, WIDTH], "counts": [5, 3]}, "without a segmentation"),
        ({"size": [HEIGHT, WIDTH], "counts": [-5, 605]}, "without a segmentation"),
        ({"size": [WIDTH, HEIGHT], "counts": "a"}, "of the size"),
        ({"size": [1 << 20, 1 << 20], "counts": "a"}, "of the size"),
        ({"counts": "a"}, "of the size"),
    ],
)
def test_a_damaged_segmentation_is_an_error(segmentation: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=said):
        opened(written(tmp_path / "d", [segmentation], ("tree",)))


@pytest.mark.parametrize("counts", ["", "xx!!", "zzzzzzzzzzzzzzzz", "\u00e9", "0" * 5000, "o" * 5000])
def test_a_damaged_text_of_run_lengths_is_an_error(counts: str, tmp_path: Path) -> None:
    data = opened(written(tmp_path / "d", [{"size": [HEIGHT, WIDTH], "counts": counts}], ("tree",)))
    with pytest.raises(BadData, match="cannot be read"):
        mask_of(data)
