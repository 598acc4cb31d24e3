"""A COCO JSON file, read and checked: its images, their annotations, and the categories.

Format: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from quantkit.core.errors import BadData
from quantkit.core.wording import some
from quantkit.datasets.annotated import LARGEST_SIDE, in_order, read_json, safe_path, size_of
from quantkit.datasets.base import Request

ROBOFLOW = "_annotations.coco.json"
SUFFIX = ".json"
LARGEST_NUMBER = 1e12  # pixels; NaN and infinity, which Python reads in JSON, are not below it
TRIED = 20  # images that are looked for to find their folder
Found = dict[str, Any]


@dataclass(frozen=True)
class CocoImage:
    """An image of a COCO file.

    Attributes:
        name: Its name in the file.
        path: Where it lies.
        size: Its (height, width).
        annotations: Its annotations, as the file has them.
        classes: The class index of each annotation.
    """

    name: str
    path: Path
    size: tuple[int, int]
    annotations: Sequence[Found]
    classes: Sequence[int]


@dataclass(frozen=True)
class CocoFile:
    """A COCO file, checked.

    Attributes:
        images: The images.
        classes: The names of the classes, by index.
    """

    images: Sequence[CocoImage]
    classes: tuple[str, ...]


def is_coco(path: Path) -> bool:
    """True for a .json file."""
    return path.suffix.lower() == SUFFIX and path.is_file()


def annotation_files(folder: Path, kind: str = "instances") -> list[Path]:
    """Return the COCO files of a folder, by their usual names: Roboflow's, and those of a kind."""
    if not folder.is_dir():
        return []
    if (folder / ROBOFLOW).is_file():
        return [folder / ROBOFLOW]
    return sorted(folder.glob(f"annotations/{kind}_*.json"))


def only_file(folder: Path, files: Sequence[Path]) -> Path:
    """Return the annotation file of a folder. Raises BadData if there are several."""
    if len(files) > 1:
        raise BadData(
            f"{folder} has {len(files)} annotation files: {some([file.name for file in files])}.",
            "Name one of them as the data.",
        )
    return files[0]


def image_folders(file: Path) -> list[Path]:
    """Return the folders in which a COCO file's images may lie, the likeliest first."""
    here, above = file.parent, file.parent.parent
    split = file.stem.rpartition("_")[2]
    found = [here, here / "images", here / split, here / file.stem]
    found += [above / split, above / "images" / split, above / "images"] if here.name == "annotations" else []
    return list(dict.fromkeys(found))


def read_coco(file: Path, request: Request) -> CocoFile:
    """Read a COCO file.

    Args:
        file: The file.
        request: Names the classes in the model's order, if they are given.

    Returns:
        Its images and classes.

    Raises:
        BadData: It is damaged, or does not fit the images.
    """
    document = read_json(file)
    images = _table(document, "images", file)
    annotations = _table(document, "annotations", file)
    categories = _categories(document, annotations, file)
    by_image: dict[Any, list[Found]] = defaultdict(list)
    known = {image["id"] for image in images}
    for annotation in annotations:
        if annotation["image_id"] not in known:
            raise BadData(
                f"{file} has an annotation (id {annotation['id']}) of the image {annotation['image_id']!r}, which "
                "is not among its images.",
                "Add the image to it, or remove the annotation.",
            )
        if annotation["category_id"] not in categories:
            raise BadData(
                f"{file} has an annotation (id {annotation['id']}) of the category {annotation['category_id']!r}, "
                "which is not among its categories.",
                "Add the category to it, or correct the annotation.",
            )
        by_image[annotation["image_id"]].append(annotation)
    used = {categories[annotation["category_id"]] for annotation in annotations}
    order = in_order(list(categories.values()), used, request, file)
    folder = _image_folder(file, images, request.images)
    found = []
    for image in images:
        path, own = safe_path(folder, image["file_name"], file), by_image[image["id"]]
        classes = [order[categories[one["category_id"]]] for one in own]
        found.append(CocoImage(image["file_name"], path, _size(image, path, file), own, classes))
    return CocoFile(found, tuple(request.classes or order))


def is_number(value: Any) -> TypeGuard[float]:
    """True for a finite number of a size that pixels have."""
    return isinstance(value, (int, float)) and -LARGEST_NUMBER < value < LARGEST_NUMBER


def _size(image: Found, path: Path, file: Path) -> tuple[int, int]:
    size = size_of(path, _stated_size(image, file), file)
    if size is None:
        raise BadData(
            f"{file} does not state the size of {image['file_name']}, and the image cannot be read.",
            "Put the image beside it, or remove it from the file.",
        )
    return size


def _stated_size(image: Found, file: Path) -> tuple[int, int] | None:
    height, width = image.get("height"), image.get("width")
    if height is None and width is None:
        return None
    if not all(isinstance(side, int) and 0 < side <= LARGEST_SIDE for side in (height, width)):
        raise BadData(
            f"{file} states the size {width!r}x{height!r} of {image['file_name']}.", "Write its pixels as integers."
        )
    assert isinstance(height, int) and isinstance(width, int)
    return height, width


def _categories(document: Mapping[str, Any], annotations: Sequence[Found], file: Path) -> dict[Any, str]:
    """Return the names of the categories by id, in the order of ids, without unused supercategories of others."""
    found = _table(document, "categories", file)
    used = {annotation["category_id"] for annotation in annotations}
    above = {one.get("supercategory") for one in found if one.get("supercategory") != one.get("name")}
    for one in found:
        if not isinstance(one.get("name"), str):
            raise BadData(f"{file} has a category (id {one['id']}) without a name.", "Give each category a name.")
    kept = [one for one in found if one["id"] in used or one["name"] not in above]
    return {one["id"]: one["name"] for one in sorted(kept, key=lambda one: one["id"])}


def _image_folder(file: Path, images: Sequence[Found], given: Path | None) -> Path:
    """Return the folder with the images, the one that is given or found. Raises BadData if it has none of the first."""
    folders = [given] if given is not None else image_folders(file)
    names = [image["file_name"] for image in images[:TRIED]]
    counts = [sum(safe_path(folder, name, file).is_file() for name in names) for folder in folders]
    if not max(counts):
        raise BadData(
            f"The images that {file} names, such as {names[0][:100]}, are not there.",
            f"Put them into one of {some([str(folder) for folder in folders])}, or give their folder as the data and "
            "this file as the labels (--labels, labels=).",
        )
    return folders[counts.index(max(counts))]


def _table(document: Any, key: str, file: Path) -> list[Found]:
    """Return one of the lists of a COCO file, whose entries have ids of their own. Raises BadData."""
    entries = document.get(key) if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadData(
            f"{file} has no list {key!r}.", "Give a JSON file of COCO's form: images, annotations, categories."
        )
    if not entries and key != "annotations":
        raise BadData(f"{file} has no {key}.", "Give a file with at least one image and one category.")
    ids = [entry.get("id") for entry in entries]
    if not all(isinstance(number, (int, str)) for number in ids) or len({type(number) for number in ids}) > 1:
        raise BadData(f"{file} has {key} without an id.", "Number them from 1.")
    twice = [number for number, count in Counter(ids).items() if count > 1]
    if twice:
        raise BadData(f"{file} has two {key} with the id {twice[0]!r}.", "Give each one an id of its own.")
    if key == "annotations":
        _check_references(entries, file)
    if key == "images":
        _check_names([entry.get("file_name") for entry in entries], file)
    return entries


def _check_references(annotations: Sequence[Found], file: Path) -> None:
    for annotation in annotations:
        for key in ("image_id", "category_id"):
            if not isinstance(annotation.get(key), (int, str)):
                raise BadData(
                    f"{file} has an annotation (id {annotation['id']}) without {key}.",
                    "Name the image and the category of each annotation by id.",
                )


def _check_names(names: Sequence[Any], file: Path) -> None:
    if not all(isinstance(name, str) and name for name in names):
        raise BadData(f"{file} has an image without a file_name.", "Give each image the name of its file.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BadData(f"{file} has the image {twice[0][:100]!r} twice.", "Keep one entry for each image.")
