"""Dynamic ranges as text: ``name:amax`` lines, as NVIDIA's sampleINT8API reads them for ``set_dynamic_range``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from quantkit.formats.imported import Imported, from_amax
from quantkit.formats.lines import named_values, refuse_line_breaks, split_lines

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)


def ranges_text(amax: Mapping[str, float]) -> str:
    """The lines, in the order given. Nine digits hold a float32, and the scale of a calibration cache, exactly."""
    for name in amax:
        refuse_line_breaks(name)
    return "".join(f"{name}:{value:.9g}\n" for name, value in amax.items())


def read_ranges(text: str, source: str) -> Imported:
    """Ranges from such lines; a name may hold colons. Raises BadInput for a damaged line."""
    return from_amax("dynamic ranges", named_values(split_lines(text), 1, ":", _number, source), source)


def _number(text: str) -> float:
    if not NUMBER.fullmatch(text.strip()):
        raise ValueError("does not end in a number")
    return float(text)
