"""Segmentation maps that differ between two models, by class and drawn over their images."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Row
from quantkit.core.predictions import Predictions

MOST_IMAGES = 12
MOST_CLASSES = 20
# RGB of classes, in turn, after Okabe and Ito's colours for all kinds of sight; and of what differs.
COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (240, 228, 66))
OPACITY = 140
DIFFERS = (220, 20, 60, 190)


@dataclass(frozen=True)
class ClassIou:
    """The IoU of one class in two models, and how many pixels masks have of it."""

    name: str
    pixels: int
    before: float | None
    after: float


@dataclass(frozen=True)
class MapPicture:
    """An image whose maps differ.

    Attributes:
        name: The name of the sample.
        width: The width to draw it with.
        height: The height to draw it with.
        share: The share of its places whose class differs.
        layers: What is drawn over it, as data: URIs of PNGs, by title.
    """

    name: str
    width: int
    height: int
    share: float
    layers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class MapChanges:
    """The maps of a row that differ from another's.

    Attributes:
        classes: The classes whose IoU changed most.
        pictures: The images that differ most.
        images: The number of images that differ at all.
    """

    classes: tuple[ClassIou, ...]
    pictures: tuple[MapPicture, ...]
    images: int


def map_changes(predictions: Predictions, its: int, mine: int, rows: tuple[Row | None, Row]) -> MapChanges:
    """Find the maps that differ between two models.

    Args:
        predictions: The stored maps of both.
        its: The number of the model to compare with.
        mine: The number of the row's model.
        rows: Their rows, the first of which may not be known.

    Returns:
        The differences.
    """
    before, after = predictions.of(its), predictions.of(mine)
    shares = (before["maps"] != after["maps"]).mean(axis=(1, 2))
    worst = np.argsort(-shares, kind="stable")[:MOST_IMAGES]
    pictures = tuple(
        _picture(predictions.names[i], before["maps"][i], after["maps"][i], after["sizes"][i], float(shares[i]))
        for i in worst.tolist()
        if shares[i] > 0
    )
    return MapChanges(_classes(*rows), pictures, int((shares > 0).sum()))


def _classes(before: Row | None, after: Row) -> tuple[ClassIou, ...]:
    known = {part.name: part.value for part in before.parts} if before is not None else {}
    found = [ClassIou(part.name, part.objects, known.get(part.name), part.value) for part in after.parts]
    found.sort(key=lambda own: own.after - (own.before if own.before is not None else own.after))
    return tuple(found[:MOST_CLASSES])


def _picture(
    name: str, before: npt.NDArray[np.integer], after: npt.NDArray[np.integer], size: Sequence[int], share: float
) -> MapPicture:
    height, width = (int(side) for side in size)
    if min(height, width) <= 0:
        height, width = before.shape
    differs = np.zeros((*before.shape, 4), np.uint8)
    differs[before != after] = DIFFERS
    layers = (("what differs", _png(differs)), ("before", _png(_coloured(before))), ("after", _png(_coloured(after))))
    return MapPicture(name, width, height, share, layers)


def _coloured(classes: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    colours = np.array([(*colour, OPACITY) for colour in COLOURS], np.uint8)
    found: npt.NDArray[np.uint8] = colours[classes % len(COLOURS)]
    return found


def _png(pixels: npt.NDArray[np.uint8]) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
