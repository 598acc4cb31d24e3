"""What data sets of annotated images share: files found by untrusted names, class indices, image sizes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from quantkit.core.errors import BadData
from quantkit.core.reading import LARGEST_JSON, LARGEST_TEXT, read_file
from quantkit.datasets.base import Request, Source, Unreadable
from quantkit.datasets.boxes import Boxes
from quantkit.datasets.decode import upright_size
from quantkit.datasets.images import ImageFiles, images_source
from quantkit.datasets.mask import Mask
from quantkit.datasets.size_inputs import image_input

LONGEST_NAME = 255  # bytes of one part of a path
LARGEST_SIDE = 1 << 16  # pixels of an image; what a decoder takes is less


def open_annotated(
    files: ImageFiles, request: Request, annotations: Sequence[Boxes | Mask], classes: Sequence[str]
) -> Source:
    """Open images with boxes or masks.

    Args:
        files: The images.
        request: The model's input and the preprocessing.
        annotations: That of each image.
        classes: The names of the classes.

    Returns:
        The opened images.

    Raises:
        BadData: A labels file is given too, or the images do not fit the model's input.
    """
    image_input(request.inputs)
    if request.labels is not None:
        raise BadData(
            f"{files.source} is annotated already, so the labels file {request.labels} has no use.", "Leave it out."
        )
    return images_source(files, request, annotations, classes)


def safe_path(folder: Path, name: str, source: Path) -> Path:
    """Return the file of an untrusted name. Raises BadData if it leaves the folder."""
    plain = name.replace("\\", "/")
    parts = PurePosixPath(plain).parts
    long = any(len(part.encode("utf-8", "surrogatepass")) > LONGEST_NAME for part in parts)
    if not parts or ".." in parts or "\0" in name or plain.startswith("/") or PureWindowsPath(name).drive or long:
        raise BadData(
            f"{source} names the image {name[:100]!r}, which is outside its image folder or no name at all.",
            "Write file names relative to the image folder.",
        )
    return folder.joinpath(*parts)


def size_of(path: Path, stated: tuple[int, int] | None, source: Path) -> tuple[int, int] | None:
    """Return the size of an image, which must be what its annotation states.

    Args:
        path: The image.
        stated: The (height, width) that its annotation states; None if it states none.
        source: The annotations.

    Returns:
        Its (height, width); what is stated if the image cannot be read, which may be None.

    Raises:
        BadData: Both are known and differ.
    """
    try:
        found = upright_size(path)
    except Unreadable:
        return stated
    if stated is not None and stated != found:
        raise BadData(
            f"{source} says that {path.name} is {stated[1]}x{stated[0]} pixels, but it is {found[1]}x{found[0]}.",
            "Give the images that were annotated, or annotations of these.",
        )
    return found


def in_order(names: Sequence[str], used: Iterable[str], request: Request, source: Path) -> dict[str, int]:
    """Return the index of each class name.

    Args:
        names: The data's own names, in order.
        used: The names that annotations have.
        request: Names the classes in the model's order, if they are given.
        source: The annotations.

    Returns:
        The indices by name; every name in ``used`` has one.

    Raises:
        BadData: A name is there twice, or one that is used is not among the classes.
    """
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise BadData(f"{source} has two classes called {twice[0]!r}.", "Give each class a name of its own.")
    order = {name: index for index, name in enumerate(request.classes or names)}
    unknown = sorted(name for name in used if name not in order)
    if unknown:
        raise BadData(
            f"{source} has the class {unknown[0]!r}, which is not among the {len(order)} classes given.",
            "Name every class in [data] classes, in the order of the model's outputs.",
        )
    return order


def read_text(path: Path, what: str) -> str:
    """Return the contents of a text file. Raises BadData if it cannot be read or is no UTF-8."""
    try:
        return read_file(path, LARGEST_TEXT, BadData, what).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BadData(f"The {what} {path} cannot be read ({reason}).", "Write it again as UTF-8 text.") from error


def read_json(path: Path) -> Any:
    """Return the contents of a JSON file. Raises BadData if it cannot be read, is empty or no JSON."""
    hint = "Give a JSON file of COCO's form: images, annotations, categories."
    try:
        data = read_file(path, LARGEST_JSON, BadData, "annotation file")
        if not data.strip():
            raise BadData(f"The annotation file {path} is empty.", hint)
        return json.loads(data)
    except OSError as error:
        raise BadData(f"The annotation file {path} cannot be read ({error.strerror}).", hint) from error
    except (ValueError, RecursionError) as error:
        raise BadData(f"{path} is not valid JSON ({str(error)[:100]}).", hint) from error
