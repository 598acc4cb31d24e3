"""Reads images and arrays as a stream of model inputs."""

from __future__ import annotations

from quantkit.datasets.base import Dataset, Inputs
from quantkit.datasets.open import OpenedData, open_dataset
from quantkit.datasets.stream import Batch, Sample, Stream, stacked

__all__ = ["Batch", "Dataset", "Inputs", "OpenedData", "Sample", "Stream", "open_dataset", "stacked"]
