"""The ranges read from a file, in one form for every file format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quantkit.core.errors import BadData
from quantkit.core.ranges import TensorRange

DEAD_AMAX = 2.0**-13  # replaces 0, as in quantkit's own calibrations: TensorRT refuses a scale of 0
SMALLEST_AMAX = 127 * 2.0**-126  # below this the scale is a subnormal float32, which a GPU may flush to 0
LARGEST = 2.0**128 * (1 - 2.0**-25)  # anything larger rounds to infinity in float32


@dataclass(frozen=True)
class Imported:
    """Ranges by tensor, in the order of the source.

    Attributes:
        form: What the source is, in words.
        ranges: The range of every tensor.
        symmetric: The tensors whose amax alone is known; their low and high are -amax and amax.
        header: The first line of a calibration cache.
        method: The calibration method of a TensorsData.
        exclude: Wildcards for nodes and tensors that stay in floating point.
        dead: The tensors whose range was 0 and is now DEAD_AMAX.
        notes: Sentences about everything else that was repaired or left out.
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
    """Make ranges from a format that holds only amax.

    Args:
        form: What the source is, in words.
        amax: The amax by tensor; finite and not negative.
        source: What error messages call the file.
        header: The first line of a calibration cache.

    Returns:
        Symmetric ranges for all tensors.

    Raises:
        BadInput: A value does not fit in a float32, or there is none.
    """
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
    """Make ranges from (low, high) pairs.

    Every range is stretched to include zero. A range of zero becomes the smallest one that every target accepts.

    Args:
        form: What the source is, in words.
        bounds: The low and high of every tensor.
        source: What error messages call the file.
        symmetric: The tensors whose amax alone is known.
        header: The first line of a calibration cache.
        method: The calibration method of a TensorsData.
        notes: Sentences about what was repaired or left out.

    Returns:
        The ranges, in the order of ``bounds``.

    Raises:
        BadInput: A pair is not in order or not finite in float32, or there is no pair.
    """
    if not bounds:
        raise BadData(f"{source} holds no range.", "Give the file of a calibration that saw data.")
    ranges: dict[str, TensorRange] = {}
    dead: list[str] = []
    for name, (low, high) in bounds.items():
        if any("\ud800" <= character <= "\udfff" for character in name):
            raise BadData(f"The tensor name {name!a} in {source} is no text.", "Write the file again.")
        if not -LARGEST < low <= high < LARGEST:  # false for NaN, too
            raise BadData(
                f"The range of {name!r} in {source} is {low:.9g} to {high:.9g}.",
                "A range must be finite in float32, from its lower to its upper end: calibrate that tensor again.",
            )
        if max(-low, high) < SMALLEST_AMAX:
            dead.append(name)
            low, high = (-DEAD_AMAX if name in symmetric else 0.0), DEAD_AMAX
        ranges[name] = TensorRange.asymmetric(low, high)
    return Imported(form, ranges, symmetric, header, method, dead=tuple(dead), notes=notes)
