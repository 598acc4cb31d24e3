"""Squeeze and excitation: what is left of an image of one pixel keeps floating point in TensorRT's Q/DQ."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.model.qdq_tensorrt import one_pixel_convs


def block(pool: str, middle: str = "Sigmoid") -> onnx.GraphProto:
    """A Conv, a squeeze-and-excitation block that scales what it puts out, and a Conv behind that."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in {"w0": (8, 3, 3, 3), "w1": (4, 8, 1, 1), "w2": (8, 4, 1, 1), "w3": (8, 8, 1, 1)}.items()
    ]
    kwargs = {"kernel_shape": [2, 2]} if pool == "AveragePool" else {}
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c"], name="stem"),
        helper.make_node(pool, ["c"], ["p"], name="pool", **kwargs),
        helper.make_node("Conv", ["p", "w1"], ["s"], name="squeeze"),
        helper.make_node(middle, ["s"], ["r"], name="middle"),
        helper.make_node("Conv", ["r", "w2"], ["e"], name="excite"),
        helper.make_node("Sigmoid", ["e"], ["g"], name="gate"),
        helper.make_node("Mul", ["c", "g"], ["m"], name="scale"),
        helper.make_node("Conv", ["m", "w3"], ["y"], name="project"),
    ]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    return helper.make_graph(nodes, "g", value[:1], value[1:], weights)


@pytest.mark.parametrize("pool", ["GlobalAveragePool", "GlobalMaxPool"])
def test_both_convs_behind_a_global_pool_are_found_and_no_other(pool: str) -> None:
    assert one_pixel_convs(block(pool)) == {"squeeze", "excite"}


def test_a_pool_that_leaves_pixels_is_no_squeeze() -> None:
    assert one_pixel_convs(block("AveragePool")) == set()


def test_what_may_add_pixels_ends_it() -> None:
    assert one_pixel_convs(block("GlobalAveragePool", middle="Tile")) == {"squeeze"}
