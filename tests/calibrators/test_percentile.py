from __future__ import annotations

import numpy as np
import pytest

from quantkit.calibrators.minmax import minmax
from quantkit.calibrators.percentile import percentile
from quantkit.calibrators.percentile_asymmetric import percentile_asymmetric
from quantkit.config import parse_config
from quantkit.core.errors import BadConfig
from tests.calibrators.builders import DISTRIBUTIONS, histogram_of


def test_percentile_meets_numpys() -> None:
    values = np.abs(DISTRIBUTIONS["normal"])
    histogram = histogram_of(values)
    for percent in (50, 90, 99, 99.9):
        wanted = pytest.approx(np.percentile(values, percent), abs=2 * histogram.width)
        assert percentile(histogram, percent).amax == wanted
    assert percentile(histogram, 100) == minmax(histogram)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("percent", [50, 90, 99])
def test_the_two_sided_percentile_meets_numpys(name: str, percent: float) -> None:
    values = DISTRIBUTIONS[name]
    histogram = histogram_of(values)
    low, high = np.percentile(values, [(100 - percent) / 2, (100 + percent) / 2])
    found = percentile_asymmetric(histogram, percent)
    assert found.low == pytest.approx(min(low, 0), abs=2 * histogram.width)
    assert found.high == pytest.approx(max(high, 0), abs=2 * histogram.width)


def test_all_of_it_is_what_was_seen() -> None:
    for values in DISTRIBUTIONS.values():
        histogram = histogram_of(values)
        found, seen = percentile_asymmetric(histogram, 100), minmax(histogram)
        assert (found.low, found.high) == (seen.low, seen.high)


def test_the_ends_of_a_mirrored_tensor_are_mirrored() -> None:
    values = DISTRIBUTIONS["laplace"]
    found, mirrored = (percentile_asymmetric(histogram_of(sign * values)) for sign in (1, -1))
    assert (mirrored.low, mirrored.high) == (-found.high, -found.low)


@pytest.mark.parametrize("rare", [[-1.0], [1.0], [-1.0, 1.0]])
def test_a_tensor_that_is_hardly_ever_not_zero_has_a_range(rare: list[float]) -> None:
    histogram = histogram_of(np.append(np.zeros(10**6), rare))
    assert percentile(histogram).amax > 0
    assert percentile_asymmetric(histogram).amax > 0


@pytest.mark.parametrize("method", [percentile, percentile_asymmetric])
@pytest.mark.parametrize("percent", [0, -1, 100.1, float("nan")])
def test_a_share_that_is_none_is_refused(method: object, percent: float) -> None:
    with pytest.raises(ValueError, match="percent"):
        method(histogram_of(DISTRIBUTIONS["normal"]), percent)


@pytest.mark.parametrize("method", [percentile, percentile_asymmetric])
@pytest.mark.parametrize("share", [0.9999, 0.5, 1, 49.9])
def test_a_share_instead_of_percent_is_refused_with_the_reason(method: object, share: float) -> None:
    with pytest.raises(ValueError, match=r"percent of the values .* not a share"):
        method(histogram_of(DISTRIBUTIONS["normal"]), share)
    with pytest.raises(BadConfig, match=r"percent of the values .* not a share"):
        parse_config({"calibrate": {"percentile": share}}, "a test")
