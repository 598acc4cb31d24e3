"""Class labels: reads them from a CSV, and converts them to indices."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from quantkit.core.errors import BadData


def read_labels(file: Path, names: Sequence[str]) -> list[str | None]:
    """Read the class of each image from a CSV of file,class. A first line that names no image is a header.

    Args:
        file: The CSV.
        names: The names of the images, relative to their folder.

    Returns:
        The class of each name, None for names that are not in the CSV.

    Raises:
        BadData: The CSV cannot be read, has a line without a class, or names no image of the folder.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.reader(stream) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadData(f"The labels file {file} cannot be read.", "Write lines of: file name, class.") from error
    known = set(names)
    if rows and rows[0][0].strip() not in known:
        rows = rows[1:]
    short = next((row for row in rows if len(row) < 2), None)
    if short is not None:
        raise BadData(f"The labels file {file} has a line without a class: {short[0]!r}.", "Write file,class.")
    labels = {row[0].strip(): row[1].strip() for row in rows}
    if not known & set(labels):
        raise BadData(f"The labels file {file} names no image of the folder.", "Write file names relative to it.")
    return [labels.get(name) for name in names]


def index_labels(
    names: Sequence[str | None], classes: Sequence[str] | None, source: str, numbers_are_indices: bool = False
) -> tuple[tuple[int | None, ...] | None, tuple[str, ...]]:
    """Convert class names to indices.

    Args:
        names: The class name of each sample, None for samples without one.
        classes: The names of the model's outputs, in order; None means the sorted class names.
        source: What error messages call the data.
        numbers_are_indices: True if labels that are all plain numbers are indices already, unless ``classes`` is given.

    Returns:
        The index of each sample's class, or None if no sample has a class; and the class names.

    Raises:
        BadData: A class name is not in ``classes``.
    """
    present = sorted({name for name in names if name is not None})
    if not present:
        return None, tuple(classes or ())
    if classes is None and numbers_are_indices and all(name.isdecimal() for name in present):
        return tuple(None if name is None else int(name) for name in names), ()
    order = {name: i for i, name in enumerate(classes if classes is not None else present)}
    unknown = [name for name in present if name not in order]
    if unknown:
        raise BadData(
            f"{source} has the class {unknown[0]!r}, which is not among the {len(order)} classes given.",
            "Name every class in [data] classes, in the order of the model's outputs.",
        )
    return tuple(None if name is None else order[name] for name in names), tuple(order)
