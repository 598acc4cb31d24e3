"""From single times to percentiles, throughput and GPU load; the clock here is a list of fixed numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from quantkit.core.comparison import LayerTime
from quantkit.measure.gpu import under_load
from quantkit.measure.latency import MOST_REPEATS, ROUNDS, time_sessions
from quantkit.targets.session import DeviceSession, DeviceTimes


class FixedClock:
    """A device whose inferences take 1, 2, 3, 4 ms in turn, and ``copies`` ms more with copies."""

    executed_precision = "int8"
    memory_bytes = 5 << 20
    device_name = "none"
    bus = "ffff:ff:1f.7"  # where NVML finds nothing

    def __init__(self, copies: float, back_to_back: float, graph: bool = True) -> None:
        self.copies, self.back_to_back, self.graph = copies, back_to_back, graph
        self.asked: list[int] = []

    def infer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def device_times(self, inputs: Mapping[str, Any], repeats: int) -> DeviceTimes:
        self.asked.append(repeats)
        compute = [1.0 + number % 4 for number in range(repeats)]
        graph = [time / 2 for time in compute] if self.graph else []
        return DeviceTimes(compute, [time + self.copies for time in compute], self.back_to_back, graph)

    def layer_times(self, inputs: Mapping[str, Any], repeats: int) -> tuple[LayerTime, ...]:
        return ()


def test_a_session_with_a_clock_of_its_own_is_told_by_its_methods() -> None:
    assert isinstance(FixedClock(0, 1), DeviceSession)


@pytest.mark.parametrize("batch", [1, 32])
def test_percentiles_and_throughput_are_the_devices(batch: int) -> None:
    session = FixedClock(copies=10, back_to_back=0.5)
    (timing,) = time_sessions([session], {}, batch, lambda _: None)
    rounds = [1.0 + number % 4 for number in range(MOST_REPEATS)] * ROUNDS
    for times, found in (
        (rounds, timing.latency),
        ([time + 10 for time in rounds], timing.with_copies),
        ([time / 2 for time in rounds], timing.graph),
    ):
        assert found is not None
        assert [found.p10, found.p50, found.p90, found.p99] == list(np.percentile(times, [10, 50, 90, 99]))
    assert timing.latency.p50 == 2.5
    assert timing.throughput == batch / 0.5e-3  # samples per second, of inferences enqueued back to back


def test_every_round_warms_up_and_what_it_took_does_not_count() -> None:
    session = FixedClock(copies=0, back_to_back=1)
    time_sessions([session], {}, 1, lambda _: None)
    assert session.asked == [MOST_REPEATS // 10, MOST_REPEATS] * ROUNDS


def test_a_session_of_the_cpu_has_no_copies() -> None:
    class Plain:
        executed_precision = "f32"

        def infer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
            return {}

    plain, device, refused = time_sessions(
        [Plain(), FixedClock(1, 1), FixedClock(1, 1, graph=False)], {}, 1, lambda _: None
    )
    assert plain.with_copies is plain.graph is None
    assert plain.throughput > 0
    assert device.with_copies is not None
    assert device.graph is not None
    assert refused.graph is None


def test_load_is_held_for_a_second_and_what_nvml_does_not_tell_is_none() -> None:
    session = FixedClock(copies=0, back_to_back=1)
    load = under_load(session, {}, milliseconds=2.0)
    assert session.asked == [round(1e3 / 3 / 2)]
    assert load.memory_bytes == 5 << 20
    assert (load.sm_clock_mhz, load.memory_clock_mhz, load.power_w, load.temperature_c) == (None,) * 4
    under_load(session, {}, milliseconds=5000.0)
    assert session.asked[-1] == 10
