"""Parsing shared by the text formats that have one tensor per line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from quantkit.core.errors import BadData, TargetRefuses


def named_values(
    lines: Iterable[str], first: int, separator: str, value_of: Callable[[str], float], source: str
) -> dict[str, float]:
    """Parse lines of ``name<separator>value``. A name may contain the separator; a value may not.

    Args:
        lines: The lines to parse.
        first: The line number of the first of them, for error messages.
        separator: The text between name and value.
        value_of: Parses the text after the last separator. Its ValueError holds the end of the sentence "Line N of …".
        source: What error messages call the file.

    Returns:
        The values by name, in the order of the lines.

    Raises:
        BadInput: A line is blank or damaged, a value is negative or not finite, or a name has two different values.
    """
    values: dict[str, float] = {}
    for number, line in enumerate(lines, start=first):
        where = f"Line {number} of {source}"
        if not line.strip():
            raise BadData(f"{where} is blank, on which TensorRT's own readers crash.", "Remove the line.")
        name, found, text = line.rpartition(separator)
        if not found or not name:
            raise BadData(f"{where} is not 'name{separator}value'.", "Write the file again.")
        try:
            value = value_of(text)
        except ValueError as error:
            raise BadData(f"{where} {error}.", "Write the file again.") from error
        if not math.isfinite(value) or value < 0:
            raise BadData(
                f"{where} gives {name!r} the value {value:.9g}; a range is finite and not negative.",
                "Calibrate that tensor again.",
            )
        if values.setdefault(name, value) != value:
            raise BadData(f"{where} gives {name!r} a second, different value.", "Remove the one that is wrong.")
    return values


def split_lines(text: str) -> list[str]:
    """Split text at \\n and \\r\\n only.

    Other separators may be part of a tensor's name. Blank lines at the end are dropped.
    """
    return [line.removesuffix("\r") for line in text.rstrip("\r\n").split("\n")]


def refuse_line_breaks(name: str) -> None:
    """Raise TargetRefuses for a name that contains a line break."""
    if name.splitlines() != [name]:
        raise TargetRefuses(f"The tensor name {name!r} holds a line break.", "Rename the tensor and calibrate again.")
