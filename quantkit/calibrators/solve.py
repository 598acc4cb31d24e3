"""Chooses calibrators by name and turns their amax into a checked range."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from quantkit.calibrators.entropy import entropy
from quantkit.calibrators.minmax import minmax
from quantkit.calibrators.mse import mse
from quantkit.calibrators.percentile import DEFAULT_PERCENTILE, percentile
from quantkit.core.errors import BadInput
from quantkit.core.histogram import BINS, DEAD_WIDTH, Histogram
from quantkit.core.ranges import TensorRange

ENTRY_POINT_GROUP = "quantkit.calibrators"


class Calibrator(Protocol):
    """A pure function from one histogram, with at least one non-zero value, to amax > 0 in the tensor's units."""

    def __call__(self, histogram: Histogram, /) -> float:
        """The amax."""


def calibrators(percent: float = DEFAULT_PERCENTILE) -> dict[str, Calibrator]:
    """All calibrators by name: the built-in ones, then those installed under ``quantkit.calibrators``.

    Raises BadInput for an installed one that does not load.
    """
    builtin: dict[str, Calibrator] = {
        "minmax": minmax,
        "percentile": partial(percentile, percent=percent),
        "entropy": entropy,
        "mse": mse,
    }
    third_party = {
        point.name: _loaded(point) for point in entry_points(group=ENTRY_POINT_GROUP) if point.name not in builtin
    }
    return builtin | third_party


def _loaded(point: EntryPoint) -> Calibrator:
    try:
        calibrator: Calibrator = point.load()
    except Exception as error:
        raise BadInput(
            f"The calibrator {point.name!r} ({point.value}) does not load: {error}.", "Mend or uninstall its package."
        ) from error
    return calibrator


def solve(histogram: Histogram, methods: Mapping[str, Calibrator]) -> dict[str, TensorRange]:
    """The range of one tensor by every method. A method that returns no positive finite amax is a BadInput.

    A dead tensor (all zeros) gets the histogram's own smallest top edge, 2⁻¹³, so that no scale is ever zero.
    """
    if histogram.is_dead or histogram.total == 0:
        floor = DEAD_WIDTH * BINS
        return dict.fromkeys(methods, TensorRange(amax=floor, low=0.0, high=floor))
    ranges = {}
    for name, calibrator in methods.items():
        amax = calibrator(histogram)
        try:
            ranges[name] = TensorRange(
                amax=amax,
                low=min(max(histogram.minimum, -amax), 0.0),
                high=max(min(histogram.maximum, amax), 0.0),
            )
        except (ValueError, TypeError) as error:
            raise BadInput(f"The calibrator {name!r} returned an unusable amax, {amax!r}.", "Mend it.") from error
    return ranges
