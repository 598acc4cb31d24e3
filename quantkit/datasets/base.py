"""What every source of samples offers, and how a kind of source is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from quantkit.core.preprocess import Preparation, Preprocess
from quantkit.graph.model_file import ModelInput

Inputs = Mapping[str, npt.NDArray[Any]]
"""One sample: an array for each input of the model, without the batch dimension."""


class Unreadable(Exception):
    """One sample that cannot be decoded; it is skipped, counted and named."""


class Dataset(Protocol):
    """Samples in a fixed order, loaded one at a time and thread-safely."""

    @property
    def source(self) -> str:
        """The path that the user gave, or what stands for it."""

    @property
    def names(self) -> Sequence[str]:
        """A name for each sample, to be shown to people."""

    @property
    def classes(self) -> Sequence[str]:
        """Class names that class indices refer to, in the order the source suggests; empty when there are none."""

    @property
    def annotations(self) -> Sequence[Any] | None:
        """What is known of each sample, None where nothing is; None when nothing is known of any.

        The task says what an annotation is. Of a classification it is the index of the class.
        """

    @property
    def preprocess(self) -> Preparation | Preprocess:
        """What is done to a sample to make model inputs of it; of images with the model's size and layout."""

    def stamp(self, index: int) -> str:
        """A cheap mark (size and time of change) that differs when the sample's file changed."""

    def size(self, index: int) -> int:
        """How many bytes are stored for the sample; 0 where it is missing."""

    def digest(self, index: int) -> bytes:
        """The SHA-256 of the stored bytes. Raises Unreadable."""

    def is_constant(self, index: int) -> bool:
        """True if every value is the same; where that takes long to find out, False."""

    def load(self, index: int) -> tuple[Inputs, bytes]:
        """The sample and the SHA-256 of its stored bytes. Raises Unreadable."""


@dataclass(frozen=True)
class Request:
    """What is asked of a source: samples for these model inputs.

    ``preprocess`` is done to images, ``classes`` name the model's outputs in order, ``labels`` is a file of annotations
    where the data have none of their own.
    """

    path: Path
    inputs: Sequence[ModelInput]
    preprocess: Preprocess
    classes: Sequence[str] | None = None
    labels: Path | None = None


@dataclass(frozen=True)
class Source:
    """An opened data set. ``notes`` say how it is read, ``warnings`` what is odd about it.

    Samples of an ``ordered`` one are taken from its start; of any other a seeded, class-balanced choice is made, unless
    all are wanted of one that is not ``shuffled`` then.
    """

    dataset: Dataset
    ordered: bool = False
    shuffled: bool = True
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Kind(Protocol):
    """One kind of data set. Third parties install theirs under the entry-point group ``quantkit.datasets``."""

    def matches(self, path: Path) -> bool:
        """True if what lies at ``path``, which exists, is of this kind; must be quick."""

    def open(self, request: Request) -> Source:
        """Open it. Raises BadData."""


def class_indices(annotations: Sequence[Any] | None) -> npt.NDArray[np.int64] | None:
    """Annotations as class indices, int64 (N,), -1 where there is none; None where they are none."""
    if annotations is None or not all(a is None or isinstance(a, (int, np.integer)) for a in annotations):
        return None
    return np.array([-1 if annotation is None else int(annotation) for annotation in annotations], np.int64)
