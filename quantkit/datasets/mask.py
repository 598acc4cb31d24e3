"""The annotation of an image for segmentation: the class of each of its pixels."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from quantkit.core.preprocess import Preprocess
from quantkit.datasets.geometry import Geometry

IGNORED, OUTSIDE = 255, -1  # of no class, and around an image that does not fill the input
CACHED = 32  # masks as the outputs have them, for the other models of a comparison
Indices = npt.NDArray[np.integer]


class Mask(ABC):
    """The classes of an image's pixels, loaded when they are asked for.

    Attributes:
        size: (height, width), the same as its image's.
    """

    size: tuple[int, int]

    @property
    @abstractmethod
    def name(self) -> str:
        """What errors call it."""

    @abstractmethod
    def load(self) -> Indices:
        """Return the class of each pixel, (height, width); IGNORED is not judged. Raises BadData."""

    def stamp(self) -> int:
        """Return a number that changes with what :meth:`load` returns."""
        return 0

    def as_output(self, preprocess: Preprocess | None, size: tuple[int, int]) -> Indices:
        """Return the mask where the model's output has it.

        Args:
            preprocess: How the image was placed in the input; None if it is not known: the whole image.
            size: (height, width) of the output.

        Returns:
            The class of each pixel of the output, by the nearest pixel of the image; OUTSIDE around the image.
        """
        return _placed(self, self.stamp(), preprocess, size)


@functools.lru_cache(maxsize=CACHED)
def _placed(mask: Mask, stamp: int, preprocess: Preprocess | None, size: tuple[int, int]) -> Indices:
    """Place a mask whose file was last changed at ``stamp``; see :meth:`Mask.as_output`."""
    own = mask.load()
    if preprocess is None or preprocess.size is None:
        rows, inside_rows = _nearest(size[0], own.shape[0], size[0], 0, own.shape[0])
        columns, inside_columns = _nearest(size[1], own.shape[1], size[1], 0, own.shape[1])
    else:
        placed = Geometry.of(preprocess, mask.size)
        rows, inside_rows = _nearest(size[0], own.shape[0], preprocess.size[0], placed.top, placed.resized[0])
        columns, inside_columns = _nearest(size[1], own.shape[1], preprocess.size[1], placed.left, placed.resized[1])
    found = own[rows][:, columns]
    found[~(inside_rows[:, None] & inside_columns)] = OUTSIDE
    found.setflags(write=False)
    return found


def _nearest(
    output: int, image: int, whole: int, start: int, resized: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Return the pixel of the image that the middle of each pixel of an output lies in, and whether it lies in it.

    Args:
        output: The pixels of the output along an axis.
        image: The pixels of the image.
        whole: The pixels of the input.
        start: Where in the input the image begins.
        resized: The pixels that the image has there.
    """
    middle = ((np.arange(output) + 0.5) * whole / output - start) * image / resized
    return np.clip(middle.astype(np.intp), 0, image - 1), (middle >= 0) & (middle < image)
