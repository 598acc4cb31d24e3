"""What text formats of a tensor a line have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from quantkit.core.errors import BadInput, TargetRefuses


def named_values(
    lines: Iterable[str], first: int, separator: str, value_of: Callable[[str], float], source: str
) -> dict[str, float]:
    """The value by name from lines of ``name<separator>value``; names may hold the separator, values do not.

    ``first`` is the number of the first line. ``value_of`` makes a finite value of the text behind the last separator,
    and raises ValueError, with the end of a sentence, when it is none. Raises BadInput with the line's number for a
    blank or damaged line, a negative value, and a name that comes again with another value.
    """
    values: dict[str, float] = {}
    for number, line in enumerate(lines, start=first):
        where = f"Line {number} of {source}"
        if not line.strip():
            raise BadInput(f"{where} is blank, on which TensorRT's own readers crash.", "Remove the line.")
        name, found, text = line.rpartition(separator)
        if not found or not name:
            raise BadInput(f"{where} is not 'name{separator}value'.", "Write the file again.")
        try:
            value = value_of(text)
        except ValueError as error:
            raise BadInput(f"{where} {error}.", "Write the file again.") from error
        if not math.isfinite(value) or value < 0:
            raise BadInput(
                f"{where} gives {name!r} the value {value:.9g}; a range is finite and not negative.",
                "Calibrate that tensor again.",
            )
        if values.setdefault(name, value) != value:
            raise BadInput(f"{where} gives {name!r} a second, different value.", "Remove the one that is wrong.")
    return values


def split_lines(text: str) -> list[str]:
    """Lines ended by \\n or \\r\\n, without blank ones at the end. Other separators may stand in a tensor's name."""
    return [line.removesuffix("\r") for line in text.rstrip("\r\n").split("\n")]


def refuse_line_breaks(name: str) -> None:
    """Raise TargetRefuses for a name that would take two lines."""
    if name.splitlines() != [name]:
        raise TargetRefuses(f"The tensor name {name!r} holds a line break.", "Rename the tensor and calibrate again.")
