"""The exact mapping between an image's pixels and a model input's pixels, both ways."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantkit.core.preprocess import Preprocess

Coordinates = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Geometry:
    """Where a resized image lies in the model's input.

    A resize maps the image's edges to the resized image's edges, so a point x of the image lies at
    x * resized width / width + left in the input, and likewise for y. Both are in pixels, with 0 at the outer edge of
    the first pixel.

    Attributes:
        image: (height, width) of the image, upright.
        resized: (height, width) that the whole image is resized to.
        left: The column of the input where the resized image starts; negative if it is cropped.
        top: The row of the input where the resized image starts; negative if it is cropped.
    """

    image: tuple[int, int]
    resized: tuple[int, int]
    left: int = 0
    top: int = 0

    @classmethod
    def of(cls, preprocess: Preprocess, image: tuple[int, int]) -> Geometry:
        """Return how an image of (height, width) is placed; ``preprocess.size`` must be set."""
        assert preprocess.size is not None
        height, width = preprocess.size
        if preprocess.resize == "stretch":
            return cls(image, preprocess.size)
        if preprocess.resize == "crop":
            shorter = int(min(preprocess.size) / preprocess.crop_pct + 1e-6)
            factor = max(shorter / min(image), height / image[0], width / image[1])
            # Rounded down, as torchvision does; the small term keeps 255.99999 from becoming 255.
            rows, columns = max(int(image[0] * factor + 1e-6), height), max(int(image[1] * factor + 1e-6), width)
            return cls(image, (rows, columns), -round((columns - width) / 2), -round((rows - height) / 2))
        factor = min(height / image[0], width / image[1])
        rows, columns = max(1, round(image[0] * factor)), max(1, round(image[1] * factor))
        return cls(image, (rows, columns), (width - columns) // 2, (height - rows) // 2)

    def to_input(self, xyxy: Coordinates) -> Coordinates:
        """Map boxes (M, 4) from the image to the model's input, as x0, y0, x1, y1."""
        return xyxy * self._scale + self._offset

    def to_image(self, xyxy: Coordinates) -> Coordinates:
        """Map boxes (M, 4) from the model's input to the image; they are not clipped to it."""
        return (xyxy - self._offset) / self._scale

    @property
    def _scale(self) -> Coordinates:
        x, y = self.resized[1] / self.image[1], self.resized[0] / self.image[0]
        return np.array([x, y, x, y])

    @property
    def _offset(self) -> Coordinates:
        return np.array([self.left, self.top, self.left, self.top], np.float64)
