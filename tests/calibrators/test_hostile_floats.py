"""Channel means of values whose sums leave float32: the kernel's are NumPy's, and both are right."""

from __future__ import annotations

import numpy as np
import pytest

from quantkit.calibrators import Collector
from quantkit.calibrators import count as counting
from quantkit.calibrators.collect import first_widths, note_maxima

LARGEST = np.finfo(np.float32).max


def means(values: np.ndarray, axis: int) -> np.ndarray:
    maxima: dict[str, float] = {}
    note_maxima(maxima, {"x": values})
    collector = Collector(first_widths(maxima), 1, {"x": axis})
    collector.observe({"x": values})
    return collector.collected().channels["x"].mean


@pytest.mark.skipif(not counting.COMPILED, reason="there is no kernel to compare")
@pytest.mark.parametrize("size", [3e35, 3e37, 1e38, float(LARGEST), -3e37, 1e-30])
@pytest.mark.parametrize(("shape", "axis"), [((1, 4, 40, 40), 1), ((1, 50, 64), 2), ((1, 3, 5, 1), 1), ((1, 5000), 1)])
@pytest.mark.parametrize("mixed", [False, True])
def test_large_values_have_the_mean_that_they_have(
    monkeypatch: pytest.MonkeyPatch, size: float, shape: tuple[int, ...], axis: int, mixed: bool
) -> None:
    rng = np.random.default_rng(1)
    values = (rng.uniform(0.5, 1, shape) * size).astype(np.float32)
    if mixed:
        values *= rng.choice([-1, 1], shape)
    compiled = means(values, axis)
    others = tuple(at for at in range(values.ndim) if at != axis)
    wanted = values.astype(np.float64).mean(axis=others)
    near = 1e-4 * abs(size)
    assert np.allclose(compiled, wanted, rtol=0, atol=near)
    monkeypatch.setattr(counting, "kernel", None)
    assert np.allclose(means(values, axis), compiled, rtol=0, atol=near)
