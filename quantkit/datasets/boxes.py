"""The annotation of an image for object detection, checked as it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from quantkit.core.by_value import ByValue
from quantkit.core.errors import BadData
from quantkit.core.wording import some

ROUNDING = 1.0  # pixels that a box may reach beyond its image without a word


SMALL, MEDIUM = 32.0**2, 96.0**2  # the largest area in pixels of COCO's small and medium objects


def size_name(area: float) -> str:
    """Return COCO's word for an object of an area in pixels: "small", "medium" or "large"."""
    return "small" if area <= SMALL else "medium" if area <= MEDIUM else "large"


@dataclass(frozen=True, eq=False)
class Boxes(ByValue):
    """The objects in one image, in the pixels of the upright image.

    Attributes:
        xyxy: Left, top, right and bottom edge of each object, float64 (M, 4).
        classes: The class index of each object, int64 (M,).
        crowd: True for a region of many objects, or one that is not to be judged, bool (M,). Detections there count
            neither as right nor as wrong.
        area: The area of each object in pixels, which decides if it is small, medium or large, float64 (M,).
        height: The height of the image.
        width: The width of the image.
    """

    xyxy: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]
    area: npt.NDArray[np.float64]
    height: int
    width: int


@dataclass
class BoxReader:
    """Makes annotations of one data set, and gathers what is wrong with boxes but does no harm.

    Args:
        source: What errors call the data.
    """

    source: str
    _clipped: list[str] = field(default_factory=list)
    _empty: list[str] = field(default_factory=list)
    _images: int = 0
    _background: int = 0

    def boxes(
        self,
        name: str,
        size: tuple[int, int],
        xyxy: Sequence[Sequence[float]],
        classes: Sequence[int],
        crowd: Sequence[bool] | None = None,
        area: Sequence[float] | None = None,
    ) -> Boxes:
        """Make the annotation of one image.

        A box that reaches more than a pixel beyond the image is clipped to it. A box without width or height, or
        wholly outside the image, is left out. Both are counted for :meth:`warnings`.

        Args:
            name: The image.
            size: Its (height, width).
            xyxy: The boxes' edges.
            classes: The boxes' class indices.
            crowd: Which boxes are crowds; None means no one is.
            area: The objects' areas; None means those of the boxes.

        Returns:
            The annotation.

        Raises:
            BadData: A coordinate or an area is not finite.
        """
        count = len(classes)
        edges = np.array(xyxy, np.float64).reshape(count, 4)
        own = None if area is None else np.array(area, np.float64)
        if not np.isfinite(edges).all() or (own is not None and not np.isfinite(own).all()):
            raise BadData(
                f"{self.source} has a box in {name} whose coordinates are not finite numbers.",
                "Correct that box, or remove it.",
            )
        height, width = size
        limits = np.array([width, height, width, height], np.float64)
        inside = edges.clip(0, limits)
        beyond = np.abs(edges - inside).max(axis=1, initial=0.0) > ROUNDING
        edges = np.where(beyond[:, None], inside, edges)
        kept = (inside[:, 2] > inside[:, 0]) & (inside[:, 3] > inside[:, 1])
        if (beyond & kept).any():
            self._clipped.append(name)
        if not kept.all():
            self._empty.append(name)
        self._images += 1
        self._background += not kept.any()
        edges = edges[kept]
        boxed = (edges[:, 2] - edges[:, 0]) * (edges[:, 3] - edges[:, 1])
        return Boxes(
            xyxy=edges,
            classes=np.array(classes, np.int64)[kept],
            crowd=np.zeros(len(edges), np.bool_) if crowd is None else np.array(crowd, np.bool_)[kept],
            area=boxed if own is None else own[kept],
            height=height,
            width=width,
        )

    def warnings(self) -> tuple[str, ...]:
        """Return what was wrong with boxes of the images so far."""
        found = []
        if self._clipped:
            found.append(
                f"{len(self._clipped)} images of {self.source} have boxes that reach beyond the image, which are "
                f"clipped to it: {some(self._clipped)}."
            )
        if self._empty:
            found.append(
                f"{len(self._empty)} images of {self.source} have boxes without width or height, or outside the "
                f"image, which are left out: {some(self._empty)}."
            )
        if self._images and self._background == self._images:
            found.append(f"{self.source} has no object in any image: nothing but likeness to FP32 can be measured.")
        return tuple(found)

    def notes(self) -> tuple[str, ...]:
        """Return how many images have no object."""
        if not self._background or self._background == self._images:
            return ()
        return (f"{self._background} images have no object: whatever is detected there is wrong.",)
