"""Opens the data that ``--data`` names and chooses samples from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadData, QuantkitError
from quantkit.core.extensions import installed, loaded
from quantkit.core.preprocess import Preprocess
from quantkit.core.wording import path_meant
from quantkit.datasets.arrays import ArrayFile
from quantkit.datasets.base import Dataset, Kind, Request, Source, class_indices
from quantkit.datasets.coco import CocoJson
from quantkit.datasets.coco_file import is_coco
from quantkit.datasets.coco_masks import CocoMasks
from quantkit.datasets.images import ImageFolder, ImageList
from quantkit.datasets.iterable import open_iterable
from quantkit.datasets.masks import MaskFolder
from quantkit.datasets.sample_files import SampleFolder
from quantkit.datasets.select import CANDIDATES, balanced_choice
from quantkit.datasets.text_settings import TextSettings
from quantkit.datasets.texts import TextTable
from quantkit.datasets.tokens import takes_tokens
from quantkit.datasets.voc import VocFolder
from quantkit.datasets.yolo import YoloFolder
from quantkit.graph.model_io import ModelInput

ENTRY_POINT_GROUP = "quantkit.datasets"
TEXTS = TextTable()  # any other file, for a model that takes tokens
# The first kind that matches is used; installed kinds come before these.
KINDS: dict[str, Kind] = {
    "arrays": ArrayFile(),
    "coco": CocoJson(),
    "yolo": YoloFolder(),
    "voc": VocFolder(),
    "masks": MaskFolder(),
    "sample folder": SampleFolder(),
    "image folder": ImageFolder(),
    "image list": ImageList(),
}
# Kinds that come first for a task, where a path is of several, such as a whole Pascal VOC.
OF_TASK: dict[str, tuple[Kind, ...]] = {"segmentation": (KINDS["masks"], CocoMasks())}


@dataclass(frozen=True)
class OpenedData:
    """A data set and the samples chosen from it.

    Attributes:
        location: The absolute path of the data, or a description of the object that it was read from.
        dataset: The data set.
        indices: The indices of the chosen samples, in order.
        notes: How the data is read.
        warnings: Anything suspicious about the data.
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
    outputs: Sequence[str] = (),
    text: TextSettings | None = None,
    labels_are_texts: bool = False,
    select: str | None = None,
    task: str = "",
) -> OpenedData:
    """Open samples for a model with these ``inputs``.

    Args:
        data: The Path of a folder, text list, .npy, .npz or anything that an installed kind reads; or a Python object
            with samples, see :func:`~quantkit.datasets.iterable.open_iterable`.
        inputs: The model's inputs.
        preprocess: The preprocessing of images.
        samples: The number of samples to use; None means all. An ordered source is used from its start; from any other
            a seeded, class-balanced choice is made.
        seed: The seed of that choice.
        classes: The names of the model's outputs, in order.
        labels: A file of annotations: a CSV, or a COCO file whose images are in the folder ``data``.
        outputs: The names of the model's outputs.
        text: How texts are read and tokenized.
        labels_are_texts: True if a list of labels holds texts, not classes.
        task: The name of the task, if the user gives one: a folder that holds boxes and masks is opened for it.
        select: "random" or "balanced", from an ordered source, too; "diverse" chooses ten times as many at random, as
            candidates for the model's features; None is balanced but for ordered sources.

    Returns:
        The data set and the chosen samples.

    Raises:
        BadData: Nothing is there, or it does not fit the model.
        BadConfig: An installed kind does not load.
    """
    if not isinstance(data, Path):
        request = Request(Path(), inputs, preprocess, classes, labels, outputs)
        source = open_iterable(data, request, _looked_at(samples, select))
        return choose(source, samples, seed, source.dataset.source, select)
    if not data.exists():
        raise BadData(f"There is no file or folder {data}.", f"{path_meant(data)}Check the data (--data, data=).")
    if labels is not None and not labels.exists():
        raise BadData(
            f"There is no labels file {labels}.", f"{path_meant(labels)}Check the labels (--labels, labels=)."
        )
    images = data if labels is not None and is_coco(labels) and data.is_dir() else None
    path = data if images is None or labels is None else labels
    kind = next((kind for kind in (*OF_TASK.get(task, ()), *_kinds().values()) if kind.matches(path)), None)
    if kind is KINDS["image list"] and takes_tokens(inputs):
        kind = TEXTS
    if kind is None:
        raise BadData(
            f"{data} is neither a file nor a folder.", "Give a folder of images or .npz, a text list, .npy or .npz."
        )
    told = text or TextSettings()
    labels = labels if images is None else None
    request = Request(path, inputs, preprocess, classes, labels, outputs, told, labels_are_texts, images)
    source = _opened(kind, request)
    return choose(source, samples, seed, str(Path(source.dataset.source).absolute()), select)


def _opened(kind: Kind, request: Request) -> Source:
    """Open the data. Raises BadData, also for a failure of an installed kind that is no error of quantkit's."""
    try:
        return kind.open(request)
    except (QuantkitError, OSError):
        raise
    except Exception as error:
        if kind in (TEXTS, *KINDS.values(), *OF_TASK.get("segmentation", ())):
            raise
        raise BadData(
            f"{request.path} cannot be opened: {type(kind).__name__} failed with {type(error).__name__}: {error}.",
            "Fix the data, or the package that reads it.",
        ) from error


def choose(source: Source, samples: int | None, seed: int, location: str, select: str | None = None) -> OpenedData:
    """Choose the samples to use.

    Args:
        source: The opened data.
        samples: The number of samples; None means all.
        seed: The seed of the choice.
        location: The absolute path or the description of the data.
        select: How; see :func:`open_dataset`.

    Returns:
        The data set and the chosen samples.
    """
    dataset, warnings = source.dataset, source.warnings
    available = len(dataset.names)
    if samples is not None and samples > available:
        more = f"{dataset.source} holds {available} samples; all are taken, where up to {samples} would be."
        warnings = (*warnings, more)
    samples = _looked_at(samples, select)
    if select is None and (source.ordered or (samples is None and not source.shuffled)):
        indices = np.arange(available)[:samples]
    else:
        classes = None if select in ("random", "diverse") else class_indices(dataset.annotations)
        indices = balanced_choice(classes, available, samples, seed)
    return OpenedData(location, dataset, indices, source.notes, warnings)


def _looked_at(samples: int | None, select: str | None) -> int | None:
    """Return how many samples have to be looked at to choose so many; None means all."""
    return samples if samples is None or select != "diverse" else CANDIDATES * samples


def _kinds() -> dict[str, Kind]:
    """Return all kinds by name. Raises BadConfig if an installed one does not load."""
    found = installed(ENTRY_POINT_GROUP)
    return {name: loaded(point, "data set", make=True) for name, point in found.items()} | KINDS
