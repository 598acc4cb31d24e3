"""Dynamic ranges as text: ``name:amax`` lines, as NVIDIA's sampleINT8API reads them for ``set_dynamic_range``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from quantkit.formats.imported import Imported, from_amax
from quantkit.formats.lines import named_values, refuse_line_breaks, split_lines

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)


def ranges_text(amax: Mapping[str, float]) -> str:
    """Format ranges as lines, in the given order.

    Nine digits represent a float32, and the scale of a calibration cache, exactly.
    """
    for name in amax:
        refuse_line_breaks(name)
    return "".join(f"{name}:{value:.9g}\n" for name, value in amax.items())


def read_ranges(text: str, source: str) -> Imported:
    """Parse ``name:amax`` lines. A name may contain colons.

    Args:
        text: The content of the file.
        source: What error messages call the file.

    Returns:
        The ranges, in the order of the lines.

    Raises:
        BadInput: A line is damaged.
    """
    return from_amax("dynamic ranges", named_values(split_lines(text), 1, ":", _number, source), source)


def _number(text: str) -> float:
    if not NUMBER.fullmatch(text.strip()):
        raise ValueError("does not end in a number")
    return float(text)
