"""Reads tables of texts: JSON lines, CSV, TSV, and plain text with a text on each line."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantkit.core.errors import BadData
from quantkit.core.reading import LARGEST_TEXT, read_file
from quantkit.core.wording import some
from quantkit.datasets.text_settings import TextSettings

JSON_LINES = (".jsonl", ".ndjson")
SEPARATED = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class TextRow:
    """One row of a table.

    Attributes:
        line: The number of its line, from 1.
        text: The text.
        pair: The second text.
        label: The class as text; None without one.
        score: The number; None without one.
    """

    line: int
    text: str
    pair: str | None = None
    label: str | None = None
    score: float | None = None


def read_texts(path: Path, settings: TextSettings) -> list[TextRow]:
    """Read a table.

    Args:
        path: The file. Its suffix tells the form: .jsonl or .ndjson, .csv, .tsv; anything else is plain text.
        settings: The columns.

    Returns:
        The rows that hold anything.

    Raises:
        BadData: The file is empty, damaged or no text, or lacks a column.
    """
    try:
        text = read_file(path, LARGEST_TEXT, BadData, "text file").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(f"{path} is not a text file in UTF-8.", "Save it as UTF-8.") from error
    suffix = path.suffix.lower()
    if suffix in JSON_LINES:
        rows = _json_rows(text, path)
    elif suffix in SEPARATED:
        rows = _separated_rows(text, SEPARATED[suffix], path)
    else:
        lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
        return _some_of([TextRow(number, line) for number, line in lines if line], path)
    return _some_of([_row(line, values, settings, path) for line, values in rows], path)


def _some_of(rows: list[TextRow], path: Path) -> list[TextRow]:
    if not rows:
        raise BadData(f"{path} holds no text.", "Write a text on each line, or a table with a column of texts.")
    return rows


def _json_rows(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadData(
                f"Line {number} of {path} is no JSON ({error}).", "Write one JSON object on each line."
            ) from error
        if not isinstance(values, dict):
            raise BadData(f"Line {number} of {path} is no JSON object.", 'Write {"text": "..."} on each line.')
        yield number, values


def _separated_rows(text: str, separator: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    first = next((line for line in text.split("\n") if line.strip()), "")
    if separator not in first and ";" in first:
        separator = ";"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] | None = None
    try:
        for row in reader:
            if not any(field.strip() for field in row):
                continue
            if header is None:
                header = [field.strip() for field in row]
                continue
            if len(row) != len(header):
                raise BadData(
                    f"Line {reader.line_num} of {path} has {len(row)} columns, the heading {len(header)}.",
                    "Quote texts that contain the separator.",
                )
            yield reader.line_num, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise BadData(f"Line {reader.line_num} of {path} cannot be read ({error}).", "Correct that line.") from error


def _row(line: int, values: dict[str, Any], settings: TextSettings, path: Path) -> TextRow:
    def column(named: str | None, usual: str, needed: bool = False) -> Any:
        name = named or usual
        if name in values:
            return values[name]
        if named is None and not needed:
            return None
        raise BadData(
            f"Line {line} of {path} has no column {name!r}; it has {some(list(values)) or 'none'}.",
            "Name the columns in [data.text].",
        )

    def text(value: Any, name: str) -> str:
        if not isinstance(value, str):
            raise BadData(f"Line {line} of {path} has no text in {name!r}, but {value!r:.40}.", "Write a text there.")
        return value

    pair = column(settings.pair, "text_pair")
    return TextRow(
        line,
        text(column(settings.column, "text", True), settings.column or "text"),
        None if pair is None else text(pair, settings.pair or "text_pair"),
        _label(column(settings.label, "label"), line, path),
        _score(column(settings.score, "score"), line, path),
    )


def _label(value: Any, line: int, path: Path) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value).strip()
    raise BadData(f"Line {line} of {path} has the label {value!r:.40}.", "Write the name or the index of a class.")


def _score(value: Any, line: int, path: Path) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise BadData(f"Line {line} of {path} has the score {value!r:.40}.", "Write a number.")
    return number
