"""Maps of classes, and of foreground, as a model's outputs hold them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantkit.core.preprocess import Preprocess

ROUNDED = 0.05  # by which INT8 may leave 0 to 1


@dataclass(frozen=True)
class Maps:
    """The answers of a batch.

    Attributes:
        classes: The class of each pixel, (N, h, w); for a foreground, 0 and 1.
        count: The number of classes; None if the output holds indices, which do not tell it.
        soft: How much of each pixel is foreground, (N, h, w), 0 to 1; None if there are classes.
        bounded: False if values of a foreground had to be cut to 0 to 1, as those before a sigmoid have to.
        preprocess: How images were placed in the input; None if that is not known.
        sizes: The (height, width) of each image; None where it is not known.
    """

    classes: npt.NDArray[np.integer]
    count: int | None
    soft: npt.NDArray[np.float32] | None = None
    bounded: bool = True
    preprocess: Preprocess | None = None
    sizes: tuple[tuple[int, int] | None, ...] = ()


def maps_in(values: npt.NDArray[np.generic], axis: int, threshold: float) -> Maps | None:
    """Read an output as maps.

    Args:
        values: The output, (N, ...).
        axis: The axis of the classes in a sample, for an output of scores.
        threshold: From which on a pixel is foreground, for one channel.

    Returns:
        The maps; None if the output holds none.
    """
    if values.dtype.kind in "iub":
        flat = values.reshape(len(values), *values.shape[2:]) if values.ndim == 4 and values.shape[1] == 1 else values
        return Maps(flat.astype(np.int32), None) if flat.ndim == 3 else None
    if values.dtype.kind != "f" or values.ndim not in (3, 4):
        return None
    scores = values[:, None] if values.ndim == 3 else np.moveaxis(values, axis + 1, 1)
    if scores.shape[1] > 1:
        kind = np.uint8 if scores.shape[1] < 256 else np.int32
        return Maps(scores.argmax(axis=1).astype(kind), scores.shape[1])
    front = np.nan_to_num(scores[:, 0].astype(np.float32))
    soft = front.clip(0, 1)
    bounded = bool((np.abs(front - soft) <= ROUNDED).all())
    return Maps((front > threshold).astype(np.uint8), 2, soft, bounded)
