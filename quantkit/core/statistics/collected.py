"""Everything that one pass over the calibration data, or a part of it, found out about the activations."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from quantkit.core.errors import BadInput
from quantkit.core.files import write_npz
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.core.statistics.extent import Extent
from quantkit.core.statistics.histogram import HISTOGRAMS_FILE, Histogram, load_histograms, save_histograms

STATISTICS_FILE = "statistics.npz"
Part = TypeVar("Part", Histogram, ChannelStatistics, Extent)


@dataclass(frozen=True, eq=False)
class Collected:
    """Histograms, channel statistics and extents, all by tensor name and in graph order."""

    histograms: dict[str, Histogram]
    channels: dict[str, ChannelStatistics]
    extents: dict[str, Extent]

    def merged(self, other: Collected) -> Collected:
        """What one pass over both sets of images would have found, to the bit; tensors of either are kept."""
        return Collected(
            _merged(self.histograms, other.histograms),
            _merged(self.channels, other.channels),
            _merged(self.extents, other.extents),
        )

    def ordered(self, names: Sequence[str]) -> Collected:
        """The same with the tensors in the order of ``names``, which must hold all of them."""
        return Collected(
            {name: self.histograms[name] for name in names if name in self.histograms},
            {name: self.channels[name] for name in names if name in self.channels},
            {name: self.extents[name] for name in names if name in self.extents},
        )

    def save(self, folder: Path) -> None:
        """Write ``histograms.npz`` and ``statistics.npz``, each atomically."""
        save_histograms(folder / HISTOGRAMS_FILE, self.histograms)
        channels, extents = list(self.channels.values()), list(self.extents.values())
        sizes = [len(c.total) for c in channels]
        arrays = {
            "names": np.array(list(self.channels), dtype=np.str_),
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

    @classmethod
    def load(cls, folder: Path) -> Collected:
        """Read both files; BadInput when one is damaged or not ours."""
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
            raise BadInput(f"{file} is not a readable statistics file.", "Calibrate again with --fresh.") from error
        return cls(histograms, channels, extents)


def _merged(a: dict[str, Part], b: dict[str, Part]) -> dict[str, Part]:
    return {name: a[name].merged(b[name]) if name in a and name in b else (a | b)[name] for name in a | b}


def _joined(arrays: list[Any], dtype: Any) -> Any:
    return np.concatenate([*arrays, np.zeros(0, dtype)]).astype(dtype)
