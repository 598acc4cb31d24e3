"""Opens whatever ``--data`` names and decides which samples of it are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadConfig, BadData
from quantkit.core.preprocess import Preprocess
from quantkit.datasets.arrays import ArrayFile
from quantkit.datasets.base import Dataset, Kind, Request, Source, class_indices
from quantkit.datasets.images import ImageFolder, ImageList
from quantkit.datasets.select import balanced_choice
from quantkit.graph.model_file import ModelInput

ENTRY_POINT_GROUP = "quantkit.datasets"
# The first that matches what lies there is taken; installed kinds are asked before these.
KINDS: dict[str, Kind] = {"arrays": ArrayFile(), "image folder": ImageFolder(), "image list": ImageList()}


@dataclass(frozen=True)
class OpenedData:
    """A data set and the chosen samples in order. ``notes`` say how it is read, ``warnings`` what is odd about it."""

    dataset: Dataset
    indices: npt.NDArray[np.int64]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def open_dataset(
    path: Path,
    inputs: Sequence[ModelInput],
    preprocess: Preprocess,
    samples: int | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    labels: Path | None = None,
) -> OpenedData:
    """Open a folder, text list, .npy, .npz or what an installed kind reads, for a model with these ``inputs``.

    ``samples`` None means all. An ordered source is taken from its start; of anything else a seeded, class-balanced
    choice is made. Raises BadData.
    """
    if not path.exists():
        raise BadData(f"There is no file or folder {path}.", "Check --data.")
    kind = next((kind for kind in _kinds().values() if kind.matches(path)), None)
    if kind is None:
        raise BadData(f"{path} is neither a file nor a folder.", "Give a folder of images, a text list, .npy or .npz.")
    return choose(kind.open(Request(path, inputs, preprocess, classes, labels)), samples, seed)


def choose(source: Source, samples: int | None, seed: int) -> OpenedData:
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
    return OpenedData(dataset, indices, source.notes, warnings)


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
