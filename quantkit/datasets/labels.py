"""Class labels: reads them from a CSV, and converts them to indices."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantkit.core.errors import BadData
from quantkit.core.reading import LARGEST_TEXT, read_file
from quantkit.core.wording import some

DELIMITERS = (",", ";", "\t", "|")
LABEL_HEADINGS = {"class", "label", "labels", "category", "target", "class_id", "label_id", "classid", "class_name"}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", re.IGNORECASE)
NO_LABEL = {"", "nan", "none", "null", "-1"}  # -1 and nan among numbers alone, for a class may have such a name
LARGEST_INDEX = 1 << 24
HINT = "Write lines of: file name, class."


@dataclass(frozen=True)
class Labels:
    """The class of each sample as text, None for samples without one; and warnings about the file."""

    names: list[str | None]
    warnings: tuple[str, ...] = ()


def read_labels(file: Path, names: Sequence[str]) -> Labels:
    """Read the class of each image from a CSV of file,class.

    Commas, semicolons, tabs or bars separate the columns. A first line that names no image is a header; a column that
    it calls "class" or "label" holds the classes, otherwise the one after the file names does. Images without a line,
    or with an empty class, have none.

    Args:
        file: The CSV.
        names: The names of the images, relative to their folder.

    Returns:
        The class of each name.

    Raises:
        BadData: The CSV cannot be read, has a line without a class, names no image of the folder, or one twice.
    """
    try:
        text = read_file(file, LARGEST_TEXT, BadData, "labels file").decode("utf-8-sig")
        rows = _rows(text, set(names))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"The labels file {file} cannot be read ({error}).", HINT) from error
    known = set(names)
    column = _column_of_names(rows, known)
    if column is None:
        raise BadData(f"The labels file {file} names no image of the folder.", "Write file names relative to it.")
    label_column = 1 if column == 0 else 0
    if _plain(rows[0][column] if len(rows[0]) > column else "", known) not in known:
        headings = [heading.lower() for heading in rows[0]]
        named = [at for at, heading in enumerate(headings) if heading in LABEL_HEADINGS and at != column]
        label_column = named[0] if named else label_column
        rows = rows[1:]
    short = next((row for row in rows if len(row) <= max(column, label_column)), None)
    if short is not None:
        raise BadData(f"The labels file {file} has a line without a class: {short[0]!r}.", "Write file,class.")
    files = [_plain(row[column], known) for row in rows]
    twice = [name for name, count in Counter(files).items() if count > 1]
    if twice:
        raise BadData(f"The labels file {file} names a file twice: {some(twice)}.", "Keep one line for each file.")
    absent = [name for name in files if name not in known]
    warnings = [f"{len(absent)} files that {file} names are not there: {some(absent)}."] if absent else []
    labels = dict(zip(files, (row[label_column] for row in rows), strict=True))
    return Labels([labels.get(name) for name in names], tuple(warnings))


def index_labels(
    names: Sequence[str | None], classes: Sequence[str] | None, source: str, numbers_are_indices: bool = False
) -> tuple[tuple[int | None, ...] | None, tuple[str, ...]]:
    """Convert class names to indices.

    Args:
        names: The class name of each sample, None for samples without one.
        classes: The names of the model's outputs, in order; None means the sorted class names.
        source: What error messages call the data.
        numbers_are_indices: True for labels that someone wrote down, which may be numbers: 3, 003 and 3.0 are the index
            3 then, unless ``classes`` has a class of that name; -1 and an empty text mean that there is no label.

    Returns:
        The index of each sample's class, or None if no sample has a class; and the class names.

    Raises:
        BadData: A class name is not in ``classes``, is no index, or is a number among names.
    """
    if numbers_are_indices:
        names = _without_missing(names, classes)
    present = sorted({name for name in names if name is not None})
    if not present:
        return None, tuple(classes or ())
    unnamed = classes is None or not set(present) <= set(classes)
    if numbers_are_indices and unnamed and all(map(NUMBER.fullmatch, present)):
        indices = {name: _index(name, source) for name in present}
        if classes is None or not {str(index) for index in indices.values()} <= set(classes):
            _check_indices(indices, classes, source)
            return tuple(None if name is None else indices[name] for name in names), tuple(classes or ())
        names = [None if name is None else str(indices[name]) for name in names]
        present = sorted({name for name in names if name is not None})
    elif numbers_are_indices and classes is None and any(map(NUMBER.fullmatch, present)):
        number = next(filter(NUMBER.fullmatch, present))
        word = next(name for name in present if not NUMBER.fullmatch(name))
        raise BadData(
            f"{source} has both numbers and names as labels ({number!r}, {word!r}).",
            "Name every class in [data] classes, in the order of the model's outputs.",
        )
    order = {name: i for i, name in enumerate(classes if classes is not None else present)}
    unknown = [name for name in present if name not in order]
    if unknown:
        raise BadData(
            f"{source} has the class {unknown[0]!r}, which is not among the {len(order)} classes given.",
            "Name every class in [data] classes, in the order of the model's outputs.",
        )
    return tuple(None if name is None else order[name] for name in names), tuple(order)


def unlabelled_warning(annotations: Sequence[Any] | None, labels: Path | None) -> list[str]:
    """Warn about samples that a file of labels leaves without one."""
    if labels is None:
        return []
    if annotations is None:
        return [f"{labels} has no label for any image: nothing but fidelity can be measured."]
    missing = sum(annotation is None for annotation in annotations)
    if not missing:
        return []
    return [f"{missing} of {len(annotations)} images have no label in {labels}; they are left out of the accuracy."]


def _rows(text: str, known: set[str]) -> list[list[str]]:
    """Split a CSV by the delimiter that makes the most lines with an image's name and something beside it."""
    best: list[list[str]] = []
    most = -1
    lines = text.splitlines()
    for delimiter in DELIMITERS:
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        rows = [[field.strip() for field in row] for row in reader]
        rows = [row for row in rows if any(row)]
        fitting = sum(len(row) > 1 and any(_plain(field, known) in known for field in row) for row in rows)
        if fitting > most:
            best, most = rows, fitting
    return best


def _column_of_names(rows: Sequence[Sequence[str]], known: set[str]) -> int | None:
    """Return the column that names the most images; None if there is none."""
    found = Counter(at for row in rows for at, field in enumerate(row) if _plain(field, known) in known)
    return min(found, key=lambda at: (-found[at], at)) if found else None


def _plain(name: str, known: set[str]) -> str:
    """Return a file's name as the folder's are written, if it is written differently."""
    if name in known:
        return name
    return name.replace("\\", "/").removeprefix("./")


def _without_missing(names: Sequence[str | None], classes: Sequence[str] | None) -> list[str | None]:
    """Return the names with None for those that stand for no label."""
    present = {name for name in names if name}
    numeric = all(NUMBER.fullmatch(name) or name.lower() in NO_LABEL for name in present)
    missing = {name for name in present if numeric and _is_missing(name)} - set(classes or ())
    return [None if not name or name in missing else name for name in names]


def _is_missing(name: str) -> bool:
    return name.lower() in NO_LABEL or (NUMBER.fullmatch(name) is not None and float(name) == -1)


def _index(name: str, source: str) -> int:
    value = float(name)
    if not 0 <= value < LARGEST_INDEX or value != int(value):
        raise BadData(
            f"{source} has the label {name[:40]}, which is no index of a class.",
            "Write indices from 0 as integers, and -1 or nothing for images without a label.",
        )
    return int(value)


def _check_indices(indices: dict[str, int], classes: Sequence[str] | None, source: str) -> None:
    worst = max(indices.values())
    if classes is not None and worst >= len(classes):
        raise BadData(
            f"{source} has the label {worst}, outside the classes 0 to {len(classes) - 1}.",
            "Check the labels, or that this is the right model.",
        )
