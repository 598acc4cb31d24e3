"""What a file of ranges, whoever wrote it, comes down to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quantkit.core.errors import BadInput
from quantkit.core.ranges import TensorRange

DEAD_AMAX = 2.0**-13  # stands for 0, as it does in quantkit's own calibrations: TensorRT refuses a scale of 0
SMALLEST_AMAX = 127 * 2.0**-126  # below it the scale is no normal float32, which a GPU may take for 0
LARGEST = 2.0**128 * (1 - 2.0**-25)  # what is beyond rounds to infinity in float32


@dataclass(frozen=True)
class Imported:
    """Ranges by tensor, in the order of the source.

    ``symmetric`` names those of which only amax is known: their low and high are -amax and amax. ``form`` says in words
    what the source was. ``header`` is a calibration cache's first line, ``method`` a TensorsData's calibration method.
    ``exclude`` holds wildcards for what stays in floating point. ``dead`` names those whose range was 0, for which
    DEAD_AMAX stands now. ``notes`` tell people what else was repaired or left out.
    """

    form: str
    ranges: dict[str, TensorRange]
    symmetric: frozenset[str] = frozenset()
    header: str = ""
    method: str = ""
    exclude: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def from_amax(form: str, amax: Mapping[str, float], source: str, header: str = "") -> Imported:
    """Ranges of a form that holds only amax (finite, not negative). Raises BadInput when one is no float32, or none."""
    return from_bounds(form, {name: (-value, value) for name, value in amax.items()}, source, frozenset(amax), header)


def from_bounds(
    form: str,
    bounds: Mapping[str, tuple[float, float]],
    source: str,
    symmetric: frozenset[str] = frozenset(),
    header: str = "",
    method: str = "",
    notes: tuple[str, ...] = (),
) -> Imported:
    """Ranges from (low, high) pairs: stretched to hold zero, and those that are zero made the smallest that serves.

    Raises BadInput when a pair is not ordered or not finite in float32, or when there is none.
    """
    if not bounds:
        raise BadInput(f"{source} holds no range.", "Give the file of a calibration that saw data.")
    ranges: dict[str, TensorRange] = {}
    dead: list[str] = []
    for name, (low, high) in bounds.items():
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise BadInput(f"The tensor name {name!a} in {source} is no text.", "Write the file again.")
        if not -LARGEST < low <= high < LARGEST:  # false for NaN, too
            raise BadInput(
                f"The range of {name!r} in {source} is {low:.9g} to {high:.9g}.",
                "A range must be finite in float32, from its lower to its upper end: calibrate that tensor again.",
            )
        if max(-low, high) < SMALLEST_AMAX:
            dead.append(name)
            low, high = (-DEAD_AMAX if name in symmetric else 0.0), DEAD_AMAX
        ranges[name] = TensorRange.asymmetric(low, high)
    return Imported(form, ranges, symmetric, header, method, dead=tuple(dead), notes=notes)
