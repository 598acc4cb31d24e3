"""How tests of passes count, and compare what was counted bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quantkit.config import Config, parse_config
from quantkit.core.progress import Advance
from quantkit.core.statistics.files import HISTOGRAMS_FILE, STATISTICS_FILE


def configured(model: Path, data: Path, **calibrate: object) -> Config:
    """The configuration of ``quantkit calibrate MODEL --data DATA``."""
    values = {"model": {"path": model}, "data": {"calibration": data}, "calibrate": calibrate}
    return parse_config(values, "a test")


def bits(run: Path) -> tuple[bytes, bytes]:
    """Everything that was counted: histograms, moving averages, channel statistics and extents."""
    return (run / HISTOGRAMS_FILE).read_bytes(), (run / STATISTICS_FILE).read_bytes()


def document(run: Path) -> dict[str, Any]:
    """``calibration.json`` without the time of its making."""
    values: dict[str, Any] = json.loads((run / "calibration.json").read_text())
    del values["created"]
    return values


class Counted:
    """A progress that notes how many samples a pass takes up, and can interrupt it."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.total = 0
        self.done_before = 0
        self.advanced = 0
        self._interrupt_after = interrupt_after

    @contextmanager
    def __call__(self, description: str, total: int, unit: str, done: int = 0) -> Iterator[Advance]:
        if description == "calibrating":
            self.total, self.done_before = total, done
        yield self._advance

    def _advance(self, count: int) -> None:
        self.advanced += count
        if self._interrupt_after is not None and self.advanced >= self._interrupt_after:
            self._interrupt_after = None
            raise KeyboardInterrupt
