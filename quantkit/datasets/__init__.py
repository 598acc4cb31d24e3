"""Images, arrays, Python's own samples and installed kinds of data, as a stream of model inputs.

One file a kind; ``open.py`` has the table of kinds, and nothing outside asks which one it got.
May import ``core`` and ``graph``.
"""

from __future__ import annotations

from quantkit.datasets.base import Dataset, Inputs, Kind, Request, Source, Unreadable
from quantkit.datasets.boxes import Boxes
from quantkit.datasets.open import OpenedData, open_dataset
from quantkit.datasets.stream import Batch, Sample, Stream, stacked

__all__ = [
    "Batch",
    "Boxes",
    "Dataset",
    "Inputs",
    "Kind",
    "OpenedData",
    "Request",
    "Sample",
    "Source",
    "Stream",
    "Unreadable",
    "open_dataset",
    "stacked",
]
