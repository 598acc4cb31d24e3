"""Reads and writes the statistics of a pass: ``histograms.npz`` and ``statistics.npz``."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from quantkit.core.errors import BadRun
from quantkit.core.files import write_npz
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.core.statistics.collected import Collected
from quantkit.core.statistics.extent import Extent
from quantkit.core.statistics.histogram import BINS, Histogram
from quantkit.core.statistics.moving import MovingExtremes

HISTOGRAMS_FILE = "histograms.npz"
STATISTICS_FILE = "statistics.npz"
FIELDS = ("names", "negative", "positive", "width", "minimum", "maximum", "moving")  # of histograms.npz


def save_collected(folder: Path, collected: Collected) -> None:
    """Write ``histograms.npz`` and ``statistics.npz``, each atomically."""
    save_histograms(folder / HISTOGRAMS_FILE, collected.histograms)
    channels, extents = list(collected.channels.values()), list(collected.extents.values())
    sizes = [len(c.total) for c in channels]
    arrays = {
        "names": np.array(list(collected.channels), dtype=np.str_),
        "sizes": np.array(sizes, dtype=np.int64),
        "minimum": _joined([c.minimum for c in channels], np.float32),
        "maximum": _joined([c.maximum for c in channels], np.float32),
        "total": _joined([c.total for c in channels], np.int64),
        "unit": np.array([c.unit for c in channels], dtype=np.float64),
        "samples": np.array([c.samples for c in channels], dtype=np.int64),
        "early_minimum": np.array([e.early_minimum for e in extents], dtype=np.float64),
        "early_maximum": np.array([e.early_maximum for e in extents], dtype=np.float64),
        "largest": np.array([e.largest for e in extents], dtype=np.float64),
        "position": np.array([e.position for e in extents], dtype=np.int64),
        "runner_up": np.array([e.runner_up for e in extents], dtype=np.float64),
    }
    write_npz(folder / STATISTICS_FILE, arrays)


def load_collected(folder: Path) -> Collected:
    """Read both files. Raises BadRun if one is missing, damaged or not written by quantkit."""
    histograms = load_histograms(folder / HISTOGRAMS_FILE)
    file = folder / STATISTICS_FILE
    try:
        with np.load(file, allow_pickle=False) as arrays:
            found = {key: arrays[key] for key in arrays.files}
        names = [str(name) for name in found["names"]]
        ends = np.cumsum(found["sizes"])
        if not set(names) <= set(histograms) or any(
            len(found[k]) != ends[-1:].sum() for k in ("minimum", "maximum", "total")
        ):
            raise ValueError("wrong shape")
        channels, extents = {}, {}
        for i, (name, end) in enumerate(zip(names, ends, strict=True)):
            own = slice(int(end - found["sizes"][i]), int(end))
            channels[name] = ChannelStatistics(
                found["minimum"][own],
                found["maximum"][own],
                found["total"][own],
                float(found["unit"][i]),
                int(found["samples"][i]),
            )
            extents[name] = Extent(
                float(found["early_minimum"][i]),
                float(found["early_maximum"][i]),
                float(found["largest"][i]),
                int(found["position"][i]),
                float(found["runner_up"][i]),
            )
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile, EOFError) as error:
        raise BadRun(f"{file} is not a readable statistics file.", "Calibrate again with --fresh.") from error
    return Collected(histograms, channels, extents)


def save_histograms(path: Path, histograms: Mapping[str, Histogram]) -> None:
    """Write all histograms to one compressed npz file, atomically."""
    values = list(histograms.values())
    arrays = {
        "names": np.array(list(histograms), dtype=np.str_),
        "negative": np.array([h.negative for h in values], dtype=np.int64).reshape(-1, BINS + 1),
        "positive": np.array([h.positive for h in values], dtype=np.int64).reshape(-1, BINS + 1),
        "width": np.array([h.width for h in values], dtype=np.float64),
        "minimum": np.array([h.minimum for h in values], dtype=np.float64),
        "maximum": np.array([h.maximum for h in values], dtype=np.float64),
        # low, high and weight as text, because they have more than 64 bits.
        "moving": np.array([[f"{n:x}" for n in astuple(h.moving)] for h in values], dtype=np.str_).reshape(-1, 3),
    }
    write_npz(path, arrays)


def load_histograms(path: Path) -> dict[str, Histogram]:
    """Read a file written by :func:`save_histograms`.

    Raises BadRun if it is missing, damaged or not written by quantkit.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            fields = {key: file[key] for key in FIELDS}
        count = len(fields["names"])
        if fields["negative"].shape != (count, BINS + 1) or fields["positive"].shape != (count, BINS + 1):
            raise ValueError("wrong shape")
        if any(len(fields[key]) != count for key in FIELDS):
            raise ValueError("wrong length")
        moving = [MovingExtremes(*(int(n, 16) for n in row)) for row in fields["moving"]]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise BadRun(f"{path} is not a readable histogram file.", "Calibrate again with --fresh.") from error
    return {
        str(name): Histogram(
            fields["negative"][i],
            fields["positive"][i],
            float(fields["width"][i]),
            float(fields["minimum"][i]),
            float(fields["maximum"][i]),
            moving[i],
        )
        for i, name in enumerate(fields["names"])
    }


def _joined(arrays: list[Any], dtype: Any) -> Any:
    return np.concatenate([*arrays, np.zeros(0, dtype)]).astype(dtype)
