"""Where an image lies in the model's input: what is painted at a place is found at the mapped place, and back."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from quantkit.core.presets import PRESETS
from quantkit.datasets.geometry import Geometry
from quantkit.datasets.transform import transform


@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("size", [(64, 64), (48, 96), (31, 77)])
@pytest.mark.parametrize("image", [(200, 120), (90, 333), (64, 64), (37, 5)])
def test_there_and_back_is_the_same_place(resize: str, size: tuple[int, int], image: tuple[int, int]) -> None:
    placed = Geometry.of(PRESETS["raw"].model_copy(update={"size": size, "resize": resize}), image)
    boxes = np.random.default_rng(0).uniform(0, 100, (20, 4))
    assert np.allclose(placed.to_image(placed.to_input(boxes)), boxes, atol=1e-9)
    whole = placed.to_input(np.array([[0, 0, image[1], image[0]]], np.float64))[0]
    if resize == "stretch":
        assert whole.tolist() == [0, 0, size[1], size[0]]
    if resize == "letterbox":  # the whole image is inside, and fills one direction
        assert whole.min() >= 0
        assert whole[2] - whole[0] == size[1] or whole[3] - whole[1] == size[0]
    if resize == "crop":  # the whole input is image
        assert whole[:2].max() <= 0
        assert whole[2] >= size[1]
        assert whole[3] >= size[0]


@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
def test_a_painted_box_is_where_it_is_mapped_to(resize: str) -> None:
    pixels = np.zeros((240, 400, 3), np.uint8)
    pixels[80:160, 150:250] = 255
    settings = PRESETS["raw"].model_copy(update={"size": (60, 80), "resize": resize, "layout": "nchw", "pad": 0})
    lit = transform(Image.fromarray(pixels), settings)[0] > 127
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    placed = Geometry.of(settings, (240, 400))
    assert np.allclose(placed.to_input(np.array([[150, 80, 250, 160.0]]))[0], seen, atol=0.51)
