"""COCO, YOLO and Pascal VOC: the same boxes from each, and bad annotations named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from quantkit.core.errors import BadData
from quantkit.core.presets import PRESETS
from quantkit.datasets import OpenedData, open_dataset
from quantkit.datasets.boxes import Boxes
from quantkit.datasets.coco_file import image_folders
from quantkit.datasets.data_yaml import read_data_yaml
from quantkit.graph.model_io import ModelInput
from tests.tasks.detection.scenes import CLASSES, HEIGHT, WIDTH, square_images, write_coco, write_voc, write_yolo

INPUT = ModelInput("images", (1, 3, 64, 64), "float32")
Objects = list[list[tuple[int, tuple[int, int, int, int]]]]


def opened(path: Path, classes: list[str] | None = None) -> OpenedData:
    return open_dataset(path, [INPUT], PRESETS["yolo"], classes=classes)


def boxes_of(found: OpenedData) -> dict[str, Boxes]:
    assert found.dataset.annotations is not None
    return {Path(name).name: own for name, own in zip(found.dataset.names, found.dataset.annotations, strict=True)}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Objects]:
    folder = tmp_path_factory.mktemp("drawn")
    return folder, square_images(folder)


@pytest.fixture
def make(drawn: tuple[Path, Objects], tmp_path: Path) -> Callable[[str], Path]:
    """Lay the images out as a kind of data set wants them; the path to name in --data."""

    def laid_out(kind: str) -> Path:
        images, objects = drawn
        if kind == "coco":
            shutil.copytree(images, tmp_path / "val2017")
            return write_coco(tmp_path / "annotations" / "instances_val2017.json", objects)
        if kind == "roboflow":
            shutil.copytree(images, tmp_path / "valid")
            return write_coco(tmp_path / "valid" / "_annotations.coco.json", objects).parent
        if kind == "coco folder":
            shutil.copytree(images, tmp_path / "images" / "val")
            write_coco(tmp_path / "annotations" / "instances_val.json", objects)
            return tmp_path
        if kind == "voc":
            shutil.copytree(images, tmp_path / "JPEGImages")
            return write_voc(tmp_path, objects)
        shutil.copytree(images, tmp_path / "images")
        file = write_yolo(tmp_path, objects)
        return file if kind == "yaml" else tmp_path

    return laid_out


@pytest.mark.parametrize("kind", ["coco", "coco folder", "roboflow", "yaml", "yolo", "voc"])
def test_every_kind_gives_the_same_boxes(kind: str, make: Callable[[str], Path], drawn: tuple[Path, Objects]) -> None:
    found = opened(make(kind), classes=list(CLASSES))
    assert found.dataset.classes == CLASSES
    assert found.warnings == ()
    boxes = boxes_of(found)
    assert len(boxes) == len(drawn[1])
    for image, objects in enumerate(drawn[1]):
        own = boxes[f"{image:03}.png"]
        assert (own.height, own.width) == (HEIGHT, WIDTH)
        assert own.classes.tolist() == [number for number, _ in objects]
        assert np.allclose(own.xyxy, np.array([edges for _, edges in objects]).reshape(-1, 4), atol=1e-6)
        assert not own.crowd.any()
    assert any("2 images have no object" in note for note in found.notes)
    inputs, _ = found.dataset.load(0)
    assert inputs["images"].shape == (3, 64, 64)


def change(file: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(file.read_text())
    edit(document)
    file.write_text(json.dumps(document))


def first(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["annotations"][0]
    return found


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda d: d.pop("images"), "has no list 'images'"),
        (lambda d: d.update(images=[]), "has no images"),
        (lambda d: d.update(annotations=7), "has no list 'annotations'"),
        (lambda d: first(d).update(image_id=99), "of the image 99, which is not among its images"),
        (lambda d: first(d).update(image_id=[1]), "without image_id"),
        (lambda d: first(d).update(category_id=99), "of the category 99, which is not among its categories"),
        (lambda d: first(d).update(bbox=[1, 2, 3]), "without a bbox of four finite numbers"),
        (lambda d: first(d).update(bbox=[1, 2, float("nan"), 3]), "without a bbox of four finite numbers"),
        (lambda d: first(d).update(bbox=[1, 2, 10**400, 3]), "without a bbox of four finite numbers"),
        (lambda d: d["annotations"].append(first(d)), "two annotations with the id 101"),
        (lambda d: d["images"].append(d["images"][0]), "two images with the id 7"),
        (lambda d: d["images"][0].update(file_name="001.png"), "the image '001.png' twice"),
        (lambda d: d["images"][0].update(file_name="../secret.png"), "outside its image folder"),
        (lambda d: d["images"][0].update(file_name="/etc/passwd"), "outside its image folder"),
        (lambda d: d["images"][0].update(file_name="C:\\x.png"), "outside its image folder"),
        (lambda d: d["images"][0].update(file_name="..\\x.png"), "outside its image folder"),
        (lambda d: d["images"][0].update(file_name="a\0.png"), "outside its image folder"),
        (lambda d: d["images"][0].update(file_name="x" * 5000), "outside its image folder"),
        (lambda d: d["images"][0].update(file_name=3), "without a file_name"),
        (lambda d: d["images"][0].update(width=640), "says that 000.png is 640x96 pixels, but it is 128x96"),
        (lambda d: d["images"][0].update(width=-1), "states the size -1x96"),
        (lambda d: d["categories"].append({"id": 50, "name": "red"}), "two classes called 'red'"),
        (lambda d: d["categories"][0].pop("name"), "has a category \\(id 1\\) without a name"),
        (lambda d: [one.update(file_name=f"gone{one['id']}.png") for one in d["images"]], "are not there"),
    ],
)  # fmt: skip
def test_a_bad_coco_file_is_refused(
    edit: Callable[[dict[str, Any]], object], said: str, make: Callable[[str], Path]
) -> None:
    file = make("coco")
    change(file, edit)
    with pytest.raises(BadData, match=said) as refused:
        opened(file)
    assert refused.value.hint.endswith(".")


def test_a_file_called_as_its_split_has_each_image_folder_once(tmp_path: Path) -> None:
    assert len(image_folders(tmp_path / "val.json")) == len({*image_folders(tmp_path / "val.json")}) == 3


@pytest.mark.parametrize("text", ["", " \n", "{", "[]", "null", "[" * 100000, "\xff{}"])
def test_a_file_that_is_no_coco_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadData):
        opened(tmp_path / "a.json")


def test_boxes_beyond_the_image_are_clipped_and_empty_ones_left_out_with_a_warning(make: Callable[[str], Path]) -> None:
    file = make("coco")

    def edit(document: dict[str, Any]) -> None:
        one, two, three = document["annotations"][:3]
        one["bbox"], two["bbox"], three["bbox"] = [-20, 10, 60, 20], [5, 5, 0, 9], [500, 5, 10, 10]
        two["image_id"] = three["image_id"] = one["image_id"]

    change(file, edit)
    found = opened(file)
    assert len(found.warnings) == 2
    assert "1 images of" in found.warnings[0]
    assert "reach beyond the image, which are clipped" in found.warnings[0]
    assert "without width or height, or outside the image, which are left out: 001.png" in found.warnings[1]
    assert [0, 10, 40, 30] in boxes_of(found)["001.png"].xyxy.tolist()


def test_a_missing_image_is_skipped_later_and_its_size_is_believed(make: Callable[[str], Path]) -> None:
    file = make("coco")
    (file.parent.parent / "val2017" / "003.png").unlink()
    assert boxes_of(opened(file))["003.png"].width == WIDTH


def test_annotations_without_any_object_are_warned_of(make: Callable[[str], Path]) -> None:
    file = make("coco")
    change(file, lambda d: d["annotations"].clear())
    assert "has no object in any image" in opened(file).warnings[0]


def test_crowds_and_masks_areas_are_kept(make: Callable[[str], Path]) -> None:
    file = make("coco")
    change(file, lambda d: first(d).update(iscrowd=1, area=12.5))
    own = boxes_of(opened(file))["001.png"]
    assert (own.crowd.tolist()[0], own.area.tolist()[0]) == (True, 12.5)


def test_classes_are_found_by_name(make: Callable[[str], Path]) -> None:
    file = make("coco")
    found = boxes_of(opened(file, classes=["none", "blue", "green", "red"]))["001.png"]
    plain = boxes_of(opened(file))["001.png"]
    assert found.classes.tolist() == [3 - number for number in plain.classes.tolist()]
    with pytest.raises(BadData, match="has the class 'blue', which is not among the 2 classes"):
        opened(file, classes=["red", "green"])


def test_several_annotation_files_are_not_chosen_from(make: Callable[[str], Path]) -> None:
    folder = make("coco folder")
    shutil.copy(folder / "annotations" / "instances_val.json", folder / "annotations" / "instances_train.json")
    with pytest.raises(BadData, match=r"has 2 annotation files: instances_train\.json, instances_val\.json"):
        opened(folder)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.5 0.5 0.1", "a line with 4 words"),
        ("0 0.5 0.5 0.1 x", "no number"),
        ("0 0.5 0.5 nan 0.1", "no shares of the image"),
        ("0 50 50 10 10", "no shares of the image"),
        ("3 0.5 0.5 0.1 0.1", "the class 3, outside the classes 0 to 2"),
        ("0.5 0.5 0.5 0.1 0.1", "which is no index"),
        ("-1 0.5 0.5 0.1 0.1", "which is no index"),
    ],
)
def test_a_bad_yolo_label_is_refused(line: str, said: str, make: Callable[[str], Path]) -> None:
    file = make("yaml")
    (file.parent / "labels" / "001.txt").write_text(line)
    with pytest.raises(BadData, match=said):
        opened(file)


def test_a_yolo_polygon_counts_as_its_box(make: Callable[[str], Path]) -> None:
    file = make("yaml")
    (file.parent / "labels" / "001.txt").write_text("1 0.25 0.25 0.5 0.25 0.5 0.75\n")
    own = boxes_of(opened(file))["001.png"]
    assert own.xyxy.tolist() == [[32, 24, 64, 72]]


def test_labels_without_an_image_are_warned_of(make: Callable[[str], Path]) -> None:
    file = make("yaml")
    (file.parent / "images" / "001.png").unlink()
    assert "1 label files" in opened(file).warnings[0]
    for label in (file.parent / "labels").iterdir():
        label.unlink()
    with pytest.raises(BadData, match=r"No image in .* has a label file"):
        opened(file)


def test_a_split_is_chosen_and_said_and_another_can_be_named(drawn: tuple[Path, Objects], tmp_path: Path) -> None:
    images, objects = drawn
    for split in ("train", "val"):
        shutil.copytree(images, tmp_path / "images" / split)
    write_yolo(tmp_path / "made", objects)
    for split in ("train", "val"):
        shutil.copytree(tmp_path / "made" / "labels", tmp_path / "labels" / split)
    (tmp_path / "data.yaml").write_text(
        "train: images/train\nval: images/val\nnames:\n  0: red\n  1: green\n  2: blue\n"
    )
    for path in (tmp_path / "data.yaml", tmp_path):
        found = opened(path)
        assert any("val is used" in note for note in found.notes)
        assert found.dataset.names[0] == "images/val/000.png"
    train = opened(tmp_path / "images" / "train")
    assert train.dataset.names[0] == "000.png"
    assert train.dataset.classes == CLASSES
    (tmp_path / "data.yaml").write_text("val: ../../../etc\nnames: [a]\n")
    with pytest.raises(BadData):
        opened(tmp_path / "data.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "names: ['a b', c]\nnc: 2",
        "names:\n- a b\n- c\n",
        "names:\n  - 'a b'  # first\n  - c\n",
        'names:\n  0: a b\n  1: "c"\n',
        "names: {0: a b, 1: c}",
        "# a comment\n---\nnames: [\n  'a b',\n  'c',\n]\nroboflow:\n  workspace: x\n  license: CC BY 4.0\n",
    ],
)
def test_names_are_read_as_people_write_them(text: str, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(text)
    assert read_data_yaml(tmp_path / "data.yaml").names == ("a b", "c")


@pytest.mark.parametrize(
    "text", ["", "nc: 3", "names: *anchor", "names:\n  0: a\n  2: b", "names: [a\nb: c", "names: a\nnames: b", "  x"]
)
def test_a_data_yaml_that_is_not_understood_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(BadData):
        read_data_yaml(tmp_path / "data.yaml")


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><annotation><filename>&b;</filename></annotation>'
OBJECT = "<object><name>red</name><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("<annotation>", "is not valid XML"),
        (BOMB, "declares a document type or entities"),
        (f"<annotation>{OBJECT.format('nan')}</annotation>", "should be a number"),
        (f"<annotation>{OBJECT.format('')}</annotation>", "should be a number"),
        ("<annotation><object/></annotation>", "an object without a name"),
        ("<annotation><filename>../../x.png</filename></annotation>", "outside its image folder"),
        (
            f"<annotation><size><width>5</width><height>5</height></size>{OBJECT.format(1)}</annotation>",
            "is 5x5 pixels",
        ),
    ],
)
def test_bad_voc_xml_is_refused(text: str, said: str, make: Callable[[str], Path]) -> None:
    folder = make("voc")
    (folder / "Annotations" / "001.xml").write_text(text)
    with pytest.raises(BadData, match=said):
        opened(folder)


def test_an_image_set_of_voc_is_used_and_difficult_objects_are_not_judged(make: Callable[[str], Path]) -> None:
    folder = make("voc")
    sets = folder / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (sets / "val.txt").write_text("001\n002\n")
    file = folder / "Annotations" / "001.xml"
    file.write_text(file.read_text().replace("<difficult>0", "<difficult>1"))
    found = boxes_of(opened(folder))
    assert sorted(found) == ["001.png", "002.png"]
    assert found["001.png"].crowd.all()
    (sets / "val.txt").write_text("001\nmissing\n")
    with pytest.raises(BadData, match=r"names 1 images without annotation: missing\.xml"):
        opened(folder)


def test_a_turned_photograph_has_the_size_that_people_see(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20))
    exif = image.getexif()
    exif[274] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    document = {
        "images": [{"id": 1, "file_name": "a.jpg"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 30]}],
        "categories": [{"id": 1, "name": "x"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    own = boxes_of(opened(tmp_path / "a.json"))["a.jpg"]
    assert (own.height, own.width, own.area.tolist()) == (40, 20, [90.0])
