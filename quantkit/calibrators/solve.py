"""Finds calibrators by name, runs them and checks their ranges."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Protocol

from quantkit.calibrators.entropy import entropy
from quantkit.calibrators.entropy_asymmetric import entropy_asymmetric
from quantkit.calibrators.minmax import minmax
from quantkit.calibrators.moving_average import moving_average
from quantkit.calibrators.mse import mse
from quantkit.calibrators.mse_asymmetric import mse_asymmetric
from quantkit.calibrators.mse_robust import mse_robust
from quantkit.calibrators.percentile import DEFAULT_PERCENTILE, percentile
from quantkit.calibrators.percentile_asymmetric import percentile_asymmetric
from quantkit.core.errors import BadConfig
from quantkit.core.extensions import installed, loaded
from quantkit.core.ranges import TensorRange
from quantkit.core.references import is_reference, load_reference
from quantkit.core.statistics.histogram import BINS, DEAD_WIDTH, Histogram

ENTRY_POINT_GROUP = "quantkit.calibrators"


class Calibrator(Protocol):
    """A pure function from a tensor's histogram to its range, in the tensor's units.

    The histogram has at least one value that is not zero. Its ``extent`` says which image holds the largest values, and
    ``samples`` how many images there are. A calibrator that finds only amax returns
    ``TensorRange.symmetric(amax, histogram.minimum, histogram.maximum)``; one that finds both ends returns
    ``TensorRange.asymmetric(low, high)``.
    """

    def __call__(self, histogram: Histogram, /) -> TensorRange:
        """Return the range."""


def calibrators(percent: float = DEFAULT_PERCENTILE, own: str | None = None) -> dict[str, Calibrator]:
    """Return all calibrators by name: the built-in ones, then those installed as entry points ``quantkit.calibrators``.

    Args:
        percent: What the percentile methods keep.
        own: A name that may be a reference, ``file.py:function`` or ``package.module:function``; it is then loaded.

    Returns:
        The calibrators.

    Raises:
        BadConfig: A calibrator does not load.
    """
    builtin: dict[str, Calibrator] = {
        "minmax": minmax,
        "moving-average": moving_average,
        "percentile": partial(percentile, percent=percent),
        "percentile-asymmetric": partial(percentile_asymmetric, percent=percent),
        "entropy": entropy,
        "entropy-asymmetric": entropy_asymmetric,
        "mse": mse,
        "mse-asymmetric": mse_asymmetric,
        "mse-robust": mse_robust,
    }
    if own is not None and is_reference(own):
        builtin[own] = load_reference(own, "calibrator")
    found = installed(ENTRY_POINT_GROUP)
    return builtin | {name: loaded(point, "calibrator") for name, point in found.items() if name not in builtin}


def solve(histogram: Histogram, methods: Mapping[str, Calibrator]) -> dict[str, TensorRange]:
    """Find the range of one tensor by every method.

    A dead tensor (all zeros) gets the smallest top edge of a histogram, 2⁻¹³, so that no scale is ever zero.

    Args:
        histogram: The tensor's histogram.
        methods: The calibrators by name.

    Returns:
        The ranges by method.

    Raises:
        BadInput: A calibrator fails, or does not return a range.
    """
    if histogram.is_dead or histogram.total == 0:
        floor = DEAD_WIDTH * BINS
        return dict.fromkeys(methods, TensorRange(amax=floor, low=0.0, high=floor))
    return {name: _checked(name, calibrator, histogram) for name, calibrator in methods.items()}


def _checked(name: str, calibrator: Calibrator, histogram: Histogram) -> TensorRange:
    try:
        found = calibrator(histogram)
    except Exception as error:
        raise BadConfig(
            f"The calibrator {name!r} failed with {type(error).__name__}: {error}.",
            "Fix it, or uninstall its package.",
        ) from error
    if not isinstance(found, TensorRange):
        raise BadConfig(
            f"The calibrator {name!r} returned {found!r:.60}, which is not a TensorRange.",
            "Let it return quantkit.TensorRange.symmetric(amax, histogram.minimum, histogram.maximum) or "
            "quantkit.TensorRange.asymmetric(low, high).",
        )
    # Plain floats: NumPy's may have another precision, and JSON does not accept them.
    return TensorRange(float(found.amax), float(found.low), float(found.high))
