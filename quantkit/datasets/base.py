"""The interface of data sets, and of the kinds of source that open them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from quantkit.core.preprocess import Preparation, Preprocess
from quantkit.datasets.text_settings import TextSettings
from quantkit.graph.model_io import ModelInput

Inputs = Mapping[str, npt.NDArray[Any]]
"""One sample: an array for each input of the model, without the batch dimension."""


class Unreadable(Exception):
    """A sample that cannot be decoded. It is skipped, counted and named in a warning."""


class Dataset(ABC):
    """Samples in a fixed order, loaded one at a time and thread-safely.

    Subclass it for data of your own; ``source``, ``names``, ``preprocess`` and ``load`` must be there.

    Attributes:
        source: The path that the user gave, or a description of the source.
        names: The name of each sample, for display.
        preprocess: The preprocessing that turns a sample into model inputs; for images, with the model's size and
            layout.
        classes: The class names that class indices refer to; empty if there are none.
        annotations: The annotation of each sample, None for samples without one; None if no sample has one. The task
            defines what an annotation is. For a classification it is the index of the class.
    """

    source: str
    names: Sequence[str]
    preprocess: Preparation | Preprocess
    classes: Sequence[str] = ()
    annotations: Sequence[Any] | None = None

    def stamp(self, index: int) -> str:
        """Return a mark that changes with the sample; by default its digest.

        What is cheaper, such as the size and modification time of a file, serves as well.
        """
        return self.digest(index).hex()

    def size(self, index: int) -> int:
        """Return the number of bytes stored for the sample; 0 if it is missing or unknown.

        Samples of one size are looked at for copies of one another.
        """
        return 0

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of the stored bytes. Raises Unreadable."""
        return self.load(index)[1]

    def is_constant(self, index: int) -> bool:
        """True if all values are the same; False if that would take long to find out."""
        return False

    def timed_load(self, index: int) -> tuple[Inputs, float, float]:
        """Return the sample, and the seconds of reading and decoding it and of preparing it. Raises Unreadable.

        A data set that does both at once counts all of it as reading.
        """
        start = time.perf_counter()
        inputs, _ = self.load(index)
        return inputs, time.perf_counter() - start, 0.0

    def image_size(self, index: int) -> tuple[int, int] | None:
        """Return the (height, width) of the upright image that the sample is made from; None if that is not known."""
        return None

    @abstractmethod
    def load(self, index: int) -> tuple[Inputs, bytes]:
        """Return the sample and the SHA-256 of its stored bytes. Raises Unreadable."""


@dataclass(frozen=True)
class Request:
    """A request to open samples for a model.

    Attributes:
        path: The path of the data.
        inputs: The model's inputs.
        preprocess: The preprocessing of images.
        classes: The names of the model's outputs, in order.
        labels: A file of annotations, for data without annotations.
        outputs: The names of the model's outputs; arrays of these names are targets.
        text: How texts are read and tokenized.
        labels_are_texts: True if a list of labels holds texts, not classes.
        images: The folder of the images that annotations at ``path`` name; None if it is to be found.
    """

    path: Path
    inputs: Sequence[ModelInput]
    preprocess: Preprocess
    classes: Sequence[str] | None = None
    labels: Path | None = None
    outputs: Sequence[str] = ()
    text: TextSettings = field(default_factory=TextSettings)
    labels_are_texts: bool = False
    images: Path | None = None


@dataclass(frozen=True)
class Source:
    """An opened data set, and how samples are chosen from it.

    Attributes:
        dataset: The data set.
        ordered: True if samples are used from its start; otherwise a seeded, class-balanced choice is made.
        shuffled: True if the order is random even if all samples are used.
        notes: How the data is read.
        warnings: Anything suspicious about the data.
    """

    dataset: Dataset
    ordered: bool = False
    shuffled: bool = True
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Kind(Protocol):
    """One kind of data set. Other packages can add theirs under the entry-point group ``quantkit.datasets``."""

    def matches(self, path: Path) -> bool:
        """True if ``path``, which exists, is of this kind. Must be fast."""

    def open(self, request: Request) -> Source:
        """Open the data set. Raises BadData."""


def class_indices(annotations: Sequence[Any] | None) -> npt.NDArray[np.int64] | None:
    """Return annotations as class indices, int64 (N,), -1 for a missing one; None if they are not class indices."""
    if annotations is None or not all(a is None or isinstance(a, (int, np.integer)) for a in annotations):
        return None
    return np.array([-1 if annotation is None else int(annotation) for annotation in annotations], np.int64)
