"""Products with one number, as a GELU ends or begins with: the number becomes a vector, for symmetric schemes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from quantkit.core.ranges import TensorRange
from quantkit.graph.model_file import open_model
from quantkit.targets.openvino.qdq import quantized_for_openvino
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from quantkit.transforms.equalization import MARGIN, equalize
from tests.graphs.scalable import RNG, data, error, initializers, measured, model, node, run

WIDTH = 32
ENDS = {  # what the second layer reads: half of x (1 + erf(x / √2)), or half of x times that
    "after": [
        helper.make_node("Mul", ["h", "one_erf"], ["whole"], name="whole"),
        node("Mul", "whole", "g", "half"),
    ],
    "before": [
        node("Mul", "h", "halved", "half"),
        helper.make_node("Mul", ["halved", "one_erf"], ["g"], name="g"),
    ],
}


def perceptron(end: str = "after", number: np.ndarray | None = None, *more: onnx.NodeProto) -> onnx.ModelProto:
    """Two layers with a GELU between them, of which one channel is forty times as large as the others."""
    large = np.where(np.arange(WIDTH) == 3, 40.0, 1.0)
    nodes = [
        node("MatMul", "x", "p", "w1"),
        node("Add", "p", "h", "b1"),
        node("Div", "h", "d", "root"),
        node("Erf", "d", "e"),
        node("Add", "e", "one_erf", "one"),
        *ENDS[end],
        node("MatMul", "g", "y", "w2"),
        *more,
    ]
    constants = initializers(
        w1=RNG.standard_normal((16, WIDTH)) / 4 * large,
        b1=np.zeros(WIDTH),
        root=np.float32(2**0.5),
        one=np.float32(1),
        half=np.float32(0.5) if number is None else number,
        w2=RNG.standard_normal((WIDTH, 24)) / large[:, None],
    )
    return model(nodes, constants, ["batch", 12, 16])


def symmetric(ranges: dict[str, TensorRange]) -> dict[str, TensorRange]:
    return {name: TensorRange(own.amax, -own.amax, own.amax) for name, own in ranges.items()}


@pytest.mark.parametrize("number", [None, np.array([0.5])], ids=["scalar", "one element"])
@pytest.mark.parametrize("end", ENDS)
def test_the_model_computes_the_same_and_no_channel_comes_near_the_end(end: str, number: np.ndarray | None) -> None:
    proto = perceptron(end, number)
    x = data(proto)
    ranges, channels = measured(proto, x)
    (before,) = run(proto, x, "y")
    factors = equalize(proto.graph, symmetric(ranges), channels, products=True)
    assert error(before, run(proto, x, "y")[0]) < 1e-9
    assert set(factors) == ({"g"} if end == "after" else {"halved", "g"})
    own = factors["g"]
    assert own.max() > 4
    assert own[3] == 1
    grown = own * channels["g"].maximum
    assert (grown[own > 1] <= ranges["g"].amax / MARGIN * (1 + 1e-5)).all()


def test_only_symmetric_schemes_ask_for_it(tmp_path: Path) -> None:
    """TensorRT gains 6 dB and more; for OpenVINO, which would no longer find the GELU, nothing changes."""
    proto = perceptron()
    x = data(proto)
    ranges, channels = measured(proto, x)
    (exact,) = run(proto, x, "y")
    onnx.save(proto, tmp_path / "m.onnx")
    opened = open_model(tmp_path / "m.onnx")
    plain, better = (
        error(exact, run(quantized_for_tensorrt(opened, ranges, (), own).proto, x, "y")[0]) for own in (None, channels)
    )
    assert better < plain / 4
    halves = [n for n in quantized_for_openvino(opened, ranges, (), channels).proto.graph.node if "half" in n.input]
    assert len(halves) == 1


@pytest.mark.parametrize(
    "proto",
    [
        pytest.param(perceptron("after", None, helper.make_node("Tanh", ["g"], ["z"], name="z")), id="read by another"),
        pytest.param(perceptron("after", np.full(WIDTH, 0.5)), id="a vector"),
    ],
)
def test_what_cannot_be_undone_is_left_alone(proto: onnx.ModelProto) -> None:
    before = proto.SerializeToString()
    ranges, channels = measured(proto, data(proto))
    assert equalize(proto.graph, symmetric(ranges), channels, products=True) == {}
    assert proto.SerializeToString() == before


def test_a_product_with_itself_does_not_pass_factors_on() -> None:
    nodes = [
        node("Mul", "x", "g", "half"),
        helper.make_node("Mul", ["g", "g"], ["squared"], name="squared"),
        node("MatMul", "squared", "y", "w"),
    ]
    large = np.where(np.arange(16) == 3, 40.0, 1.0)
    proto = model(nodes, initializers(half=np.float32(0.5), w=RNG.standard_normal((16, 8)) / large[:, None]), ["b", 16])
    x = data(proto) * large.astype(np.float32)
    ranges, channels = measured(proto, x)
    (before,) = run(proto, x, "y")
    equalize(proto.graph, symmetric(ranges), channels, products=True)
    assert error(before, run(proto, x, "y")[0]) < 1e-9


def test_a_channel_that_the_method_cut_off_keeps_its_extremes() -> None:
    proto = perceptron()
    ranges, channels = measured(proto, data(proto))
    narrow = {name: TensorRange(own.amax / 2, -own.amax / 2, own.amax / 2) for name, own in ranges.items()}
    assert equalize(proto.graph, narrow, channels, products=True)
    assert narrow["g"].amax >= channels["g"].maximum.max()


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param([node("Mul", "h", "a", "half"), node("Mul", "a", "g", "two")], id="one behind the other"),
        pytest.param(
            [
                node("Mul", "h", "a", "half"),
                node("Mul", "e", "c", "half"),
                helper.make_node("Mul", ["a", "c"], ["g"], name="g"),
            ],
            id="multiplied by each other",
        ),
    ],
)
def test_two_products_with_a_number_do_not_scale_a_tensor_twice(ends: list[onnx.NodeProto]) -> None:
    large = np.where(np.arange(WIDTH) == 3, 40.0, 1.0)
    constants = initializers(
        w1=RNG.standard_normal((16, WIDTH)) / 4 * large,
        half=np.float32(0.5),
        two=np.float32(2),
        w2=RNG.standard_normal((WIDTH, 24)) / large[:, None],
    )
    nodes = [node("MatMul", "x", "h", "w1"), node("Sigmoid", "h", "e"), *ends, node("MatMul", "g", "y", "w2")]
    proto = model(nodes, constants, ["batch", 12, 16])
    x = data(proto)
    ranges, channels = measured(proto, x)
    before = run(proto, x, "y", "g")
    factors = equalize(proto.graph, symmetric(ranges), channels, products=True)
    after = run(proto, x, "y", "g")
    assert error(before[0], after[0]) < 1e-9
    assert error(before[1] * factors["g"], after[1]) < 1e-9
    assert np.abs(after[1]).max() <= ranges["g"].amax * (1 + 1e-5)


def test_a_number_whose_product_has_other_channels_is_left_alone() -> None:
    """The channels of a Conv's output lie along axis 1, those of the product's input along the last."""
    nodes = [
        node("Conv", "x", "h", "w1"),
        node("Mul", "h", "a", "half"),
        node("Sigmoid", "h", "s"),
        helper.make_node("Mul", ["a", "s"], ["g"], name="g"),
        node("MatMul", "g", "y", "w2"),
    ]
    large = np.where(np.arange(16) == 3, 40.0, 1.0)
    constants = initializers(
        w1=RNG.standard_normal((5, 3, 1, 1)), half=np.float32(0.5), w2=RNG.standard_normal((16, 8)) / large[:, None]
    )
    proto = model(nodes, constants, ["batch", 3, 12, 16])
    x = data(proto) * large.astype(np.float32)
    ranges, channels = measured(proto, x)
    values = run(proto, x, "g")[0].reshape(-1, 16)
    channels["g"] = replace(
        channels["g"], minimum=values.min(axis=0), maximum=values.max(axis=0), total=np.zeros(16, np.int64)
    )
    assert equalize(proto.graph, symmetric(ranges), channels, products=True) == {}
