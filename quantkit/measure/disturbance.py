"""How far a latency can be trusted: the interval of a speed-up over rounds, and what tells a disturbed machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantkit.core.comparison import Interval, Latency
from quantkit.measure.intervals import mean_interval

LONG_TAIL = 2.0  # p90 / p50; on a quiet machine it is below 1.3
FAR_APART = 1.25  # the bounds of a speed-up's interval, upper / lower; on a quiet machine it is below 1.1


def speedup_interval(reference: Sequence[float], own: Sequence[float], speedup: float | None = None) -> Interval | None:
    """Return how many times faster a model is than a reference that ran in the same rounds, with its 95 % interval.

    What disturbs a round disturbs all models in it, so the ratio is taken within each round. The value is the geometric
    mean of these ratios (Fleming and Wallace, CACM 29(3), 1986), and the interval is Student's (1908) of the mean of
    their logarithms, with the rounds as the sample.

    Args:
        reference: The reference's median latency in each round, in ms, (R,).
        own: The model's median latency in each round, in ms, (R,), in the same order.
        speedup: A value from all inferences together, to use instead of the geometric mean; the interval is made to
            hold it.

    Returns:
        The interval; None for fewer than two rounds, or if the numbers of rounds differ.
    """
    if len(reference) != len(own) or len(own) < 2:
        return None
    found = mean_interval(np.log(np.asarray(reference, np.float64) / np.asarray(own, np.float64)))
    assert found.low is not None
    assert found.high is not None
    value, low, high = (float(np.exp(end)) for end in (found.value, found.low, found.high))
    value = value if speedup is None else speedup
    return Interval(value=value, low=min(low, value), high=max(high, value))


def disturbance(latency: Latency, speedup: Interval | None) -> str:
    """Say what shows that a latency was disturbed, such as by other work on the machine.

    Args:
        latency: The latency of all inferences.
        speedup: The speed-up against FP32 of the same target; None for FP32 itself, or if it has no interval.

    Returns:
        The signs in words, such as ``one in ten inferences took over 3.1 times the median``; empty if there are none.
    """
    signs = []
    if latency.p90 > LONG_TAIL * latency.p50:
        signs.append(f"one in ten inferences took over {latency.p90 / latency.p50:.1f} times the median")
    if speedup is not None and speedup.low and speedup.high and speedup.high > FAR_APART * speedup.low:
        signs.append(f"rounds put the speed-up anywhere from {speedup.low:.2f}x to {speedup.high:.2f}x")
    return " and ".join(signs)
