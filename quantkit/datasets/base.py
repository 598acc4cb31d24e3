"""What every source of samples offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from quantkit.core.preprocess import Preprocess

Inputs = Mapping[str, npt.NDArray[Any]]
"""One sample: an array for each input of the model, without the batch dimension."""


class Unreadable(Exception):
    """One sample that cannot be decoded; it is skipped, counted and named."""


class Dataset(Protocol):
    """Samples in a fixed order, loaded one at a time and thread-safely."""

    @property
    def source(self) -> str:
        """The path that the user gave."""

    @property
    def names(self) -> Sequence[str]:
        """A name for each sample, to be shown to people."""

    @property
    def classes(self) -> Sequence[str]:
        """Class names that the labels index, in the order the source suggests; empty when there are none."""

    @property
    def labels(self) -> npt.NDArray[np.int64] | None:
        """Index into ``classes`` for each sample, -1 where unlabelled; None when nothing is labelled."""

    @property
    def preprocess(self) -> Preprocess:
        """What is done to images, with the model's size and layout filled in."""

    def stamp(self, index: int) -> str:
        """A cheap mark (size and time of change) that differs when the sample's file changed."""

    def size(self, index: int) -> int:
        """How many bytes are stored for the sample; 0 where it is missing."""

    def digest(self, index: int) -> bytes:
        """The SHA-256 of the stored bytes. Raises Unreadable."""

    def is_constant(self, index: int) -> bool:
        """Whether every pixel is the same; where that takes long to find out, False."""

    def load(self, index: int) -> tuple[Inputs, bytes]:
        """The sample and the SHA-256 of its stored bytes. Raises Unreadable."""
