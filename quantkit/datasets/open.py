"""Opens whatever ``--data`` names and decides which samples of it are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadConfig, BadData
from quantkit.core.preprocess import Preprocess
from quantkit.datasets.arrays import ArrayFile
from quantkit.datasets.base import Dataset, Kind, Request, Source, class_indices
from quantkit.datasets.images import ImageFolder, ImageList
from quantkit.datasets.iterable import open_iterable
from quantkit.datasets.select import balanced_choice
from quantkit.graph.model_file import ModelInput

ENTRY_POINT_GROUP = "quantkit.datasets"
# The first that matches what lies there is taken; installed kinds are asked before these.
KINDS: dict[str, Kind] = {"arrays": ArrayFile(), "image folder": ImageFolder(), "image list": ImageList()}


@dataclass(frozen=True)
class OpenedData:
    """A data set and the chosen samples in order.

    ``location`` is its absolute path, or says what it was read from. ``notes`` say how it is read, ``warnings`` what is
    odd about it.
    """

    location: str
    dataset: Dataset
    indices: npt.NDArray[np.int64]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def open_dataset(
    data: Any,
    inputs: Sequence[ModelInput],
    preprocess: Preprocess,
    samples: int | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    labels: Path | None = None,
) -> OpenedData:
    """Open samples for a model with these ``inputs``.

    Args:
        data: The Path of a folder, text list, .npy, .npz or what an installed kind reads; or Python's own samples, for
            which see :func:`~quantkit.datasets.iterable.open_iterable`.
        inputs: The model's inputs.
        preprocess: What is done to images.
        samples: How many are used; None means all. An ordered source is taken from its start; of anything else a
            seeded, class-balanced choice is made.
        seed: Of that choice.
        classes: Names of the model's outputs, in order.
        labels: A file of annotations.

    Raises:
        BadData: Nothing is there, or it does not fit the model.
        BadConfig: An installed kind does not load.
    """
    if not isinstance(data, Path):
        request = Request(Path(), inputs, preprocess, classes, labels)
        source = open_iterable(data, request, samples)
        return choose(source, samples, seed, source.dataset.source)
    if not data.exists():
        raise BadData(f"There is no file or folder {data}.", "Check --data.")
    kind = next((kind for kind in _kinds().values() if kind.matches(data)), None)
    if kind is None:
        raise BadData(f"{data} is neither a file nor a folder.", "Give a folder of images, a text list, .npy or .npz.")
    source = kind.open(Request(data, inputs, preprocess, classes, labels))
    return choose(source, samples, seed, str(Path(source.dataset.source).absolute()))


def choose(source: Source, samples: int | None, seed: int, location: str) -> OpenedData:
    """The samples of an opened source that are used; ``samples`` None means all."""
    dataset, warnings = source.dataset, source.warnings
    available = len(dataset.names)
    if samples is not None and samples > available:
        more = f"{dataset.source} holds {available} samples, fewer than the {samples} asked for."
        warnings = (*warnings, more)
    if source.ordered or (samples is None and not source.shuffled):
        indices = np.arange(available)[:samples]
    else:
        indices = balanced_choice(class_indices(dataset.annotations), available, samples, seed)
    return OpenedData(location, dataset, indices, source.notes, warnings)


def _kinds() -> dict[str, Kind]:
    """Every kind by name. Raises BadConfig for an installed one that does not load."""
    installed: dict[str, Kind] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            installed[point.name] = point.load()()
        except Exception as error:
            raise BadConfig(
                f"The data set {point.name!r} ({point.value}) does not load: {error}.", "Fix or uninstall its package."
            ) from error
    return installed | KINDS
