"""A build that is interrupted, or whose process dies, ends at once and leaves nothing."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from quantkit.core.files import TEMPORARY
from quantkit.targets.tensorrt.engine.libraries import RTX
from tests.targets.tensorrt.building import building, is_running

if not RTX.is_installed():
    pytest.skip("TensorRT for RTX is not installed", allow_module_level=True)

PROFILES = [option for batch in range(1, 400) for option in ("--batch-size", str(batch))]  # a build of many seconds
OPTIONS = ("--target", "tensorrt-rtx", "--precision", "fp32", "--precision", "int8", *PROFILES)
BUILDING_S = 1.5


def left(run: Path) -> list[str]:
    """What lies in the engines' folder."""
    return [path.name for path in (run / "artifacts" / "tensorrt-rtx" / "engines").rglob("*")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_build_within_two_seconds(made: Path, number: signal.Signals) -> None:
    with building(made / "run", *OPTIONS, seconds=BUILDING_S) as (process, builders):
        start = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=10)
        assert time.monotonic() - start < 2
    assert process.returncode == 128 + number
    assert "Interrupted." in said
    assert not any(is_running(one) for one in builders)
    assert left(made / "run") == []


def test_the_processes_die_with_quantkit(made: Path) -> None:
    with building(made / "run", *OPTIONS, seconds=BUILDING_S) as (process, builders):
        process.kill()
        process.wait()
        end = time.monotonic() + 2
        while any(is_running(one) for one in builders) and time.monotonic() < end:
            time.sleep(0.02)
        assert not any(is_running(one) for one in builders)


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGSEGV, 2, "TensorRT for RTX crashed (SIGSEGV) while it built fp32"),
        (
            signal.SIGKILL,
            3,
            "TensorRT for RTX was killed, as a system does that runs out of memory, while it built fp32",
        ),
    ],
)
def test_a_process_that_dies_is_an_error(made: Path, number: signal.Signals, code: int, words: str) -> None:
    with building(made / "run", *OPTIONS, seconds=BUILDING_S) as (process, builders):
        os.kill(builders[0], number)
        _, said = process.communicate(timeout=10)
    assert process.returncode == code
    assert words in " ".join(said.split())
    assert "Traceback" not in said
    assert not any(is_running(one) for one in builders)
    assert not [name for name in left(made / "run") if not name.startswith(TEMPORARY)]
