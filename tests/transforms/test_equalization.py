from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from quantkit.core.ranges import TensorRange
from quantkit.graph.model_file import open_model
from quantkit.targets.onnxruntime.qdq import quantized_for_onnxruntime
from quantkit.targets.openvino.qdq import quantized_for_openvino
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from quantkit.transforms.equalization import FEWEST_CLIPPED, FEWEST_NORMALIZED, equalize, means_after
from tests.graphs.scalable import (
    MODELS,
    OUTLIER,
    RNG,
    data,
    error,
    initializers,
    measured,
    mobile,
    model,
    node,
    run,
    transformer,
)


@pytest.mark.parametrize("kind", MODELS)
def test_the_model_computes_the_same_and_its_channels_fill_the_range(kind: str) -> None:
    proto = MODELS[kind]()
    x = data(proto)
    ranges, channels = measured(proto, x)
    (before,) = run(proto, x, "y")
    factors = equalize(proto.graph, ranges, channels)
    (after,) = run(proto, x, "y")
    assert error(before, after) < 1e-9
    assert factors
    new_ranges, new_channels = measured(proto, x)
    for name, factor in factors.items():
        assert factor.min() >= 1
        assert factor.max() > 1.4
        np.testing.assert_allclose(new_channels[name].mean, means_after(channels, factors)[name], atol=1e-3)
        if not name.startswith("c"):  # what a Clip takes may exceed the range: it is cut off there, as it was before
            assert new_ranges[name].high <= ranges[name].high * (1 + 1e-5)
            assert new_ranges[name].low >= ranges[name].low * (1 + 1e-5)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("dialect", [quantized_for_onnxruntime, quantized_for_openvino, quantized_for_tensorrt])
def test_channel_statistics_lessen_the_error(kind: str, dialect, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    proto = MODELS[kind]()
    x = data(proto)
    ranges, channels = measured(proto, x)
    onnx.save(proto, tmp_path / "m.onnx")
    opened = open_model(tmp_path / "m.onnx")
    (reference,) = run(proto, x, "y")
    plain, better = (error(reference, run(dialect(opened, ranges, (), c).proto, x, "y")[0]) for c in (None, channels))
    assert better < plain / (4 if kind == "transformer" else 1.1)


def test_what_cannot_be_undone_is_left_alone() -> None:
    proto = transformer()
    proto.graph.node.append(helper.make_node("Tanh", ["n"], ["e"], name="e"))
    ranges, channels = measured(proto, data(proto))
    before = proto.SerializeToString()
    assert equalize(proto.graph, ranges, channels) == {}
    assert proto.SerializeToString() == before


def test_a_channel_at_the_clip_is_not_scaled_beyond_it() -> None:
    proto = mobile()
    ranges, channels = measured(proto, data(proto) * 100)
    factors = equalize(proto.graph, ranges, channels)
    for name in ("r1", "r2"):
        if name in factors:
            assert (factors[name] * channels[name].maximum <= 6 * (1 + 1e-5)).all()


def test_constants_that_others_share_stay_theirs() -> None:
    proto = transformer()
    proto.graph.node.append(helper.make_node("Mul", ["x", "gain"], ["z"], name="z"))
    x = data(proto)
    ranges, channels = measured(proto, x)
    before = run(proto, x, "y", "z")
    assert equalize(proto.graph, ranges, channels)
    for one, other in zip(before, run(proto, x, "y", "z"), strict=True):
        assert error(one, other) < 1e-9


@pytest.mark.parametrize(("kind", "fewest"), [("mobile", FEWEST_CLIPPED), ("transformer", FEWEST_NORMALIZED)])
def test_few_images_tell_too_little_of_a_channel(kind: str, fewest: int) -> None:
    proto = MODELS[kind]()
    assert equalize(proto.graph, *measured(proto, data(proto), fewest - 1)) == {}
    assert equalize(proto.graph, *measured(proto, data(proto), fewest))


def normalized(*nodes: onnx.NodeProto, **constants: np.ndarray) -> onnx.ModelProto:
    """A LayerNormalization of 16 channels with outliers, over 16 tokens, and what takes it."""
    gain = np.where(np.arange(16) == 3, OUTLIER, 1.0)
    first = helper.make_node("LayerNormalization", ["x", "gain", "shift"], ["n"], name="n")
    own = initializers(gain=gain, shift=np.zeros(16), **constants)
    return model([first, *nodes], own, ["batch", 16, 16])


KERNEL = {"kernel_shape": [3], "pads": [1, 1]}
MATRIX = RNG.standard_normal((16, 16)) / 16
OTHER_AXES = {
    "a Conv adds up axis 1": normalized(
        node("Conv", "n", "y", "w"), w=RNG.standard_normal((24, 16, 1)) / np.linspace(1, 40, 16).reshape(1, -1, 1)
    ),
    "a pool mixes the last axis": normalized(
        node("MaxPool", "n", "p", **KERNEL), node("MatMul", "p", "y", "w"), w=MATRIX
    ),
    "so does an average": normalized(node("AveragePool", "n", "p", **KERNEL), node("MatMul", "p", "y", "w"), w=MATRIX),
    "a matrix product adds up the width": model(
        [
            node("Conv", "x", "c", "w1", "b1"),
            node("Clip", "c", "r", "low", "high"),
            node("MatMul", "r", "y", "w"),
        ],
        initializers(
            w1=RNG.standard_normal((16, 4, 1, 1)) * np.linspace(0.01, 1, 16).reshape(-1, 1, 1, 1),
            b1=np.zeros(16),
            low=np.float32(0),
            high=np.float32(6),
            w=MATRIX,
        ),
        ["batch", 4, 8, 16],
    ),
    "a gain of one value is no vector": model(
        [
            node("Div", "x", "d", "s"),
            node("Mul", "d", "m", "g"),
            node("Add", "m", "a", "h"),
            node("Conv", "a", "y", "w"),
        ],
        initializers(
            s=np.array([1, 4, 16]).reshape(3, 1, 1),  # so that two channels have room to grow
            g=np.ones(1),
            h=np.full(1, 0.1),
            w=RNG.standard_normal((8, 3, 1, 1)) * [[[[0.1]], [[1]], [[9]]]],
        ),
        ["batch", 3, 8, 3],
    ),
}


@pytest.mark.parametrize("name", OTHER_AXES)
def test_factors_follow_their_own_axis_alone(name: str) -> None:
    proto = onnx.ModelProto()
    proto.CopyFrom(OTHER_AXES[name])
    x = data(proto)
    ranges, channels = measured(proto, x)
    (before,) = run(proto, x, "y")
    equalize(proto.graph, ranges, channels)
    assert error(before, run(proto, x, "y")[0]) < 1e-9


@pytest.mark.parametrize("dialect", [quantized_for_onnxruntime, quantized_for_openvino, quantized_for_tensorrt])
def test_weights_that_are_inputs_too_need_not_be_fed(dialect, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    proto = mobile()
    for tensor in proto.graph.initializer:
        proto.graph.input.append(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, list(tensor.dims)))
    proto.ir_version = 3
    x = data(proto)
    ranges, channels = measured(proto, x)
    onnx.save(proto, tmp_path / "m.onnx")
    made = dialect(open_model(tmp_path / "m.onnx"), ranges, (), channels).proto
    assert [value.name for value in made.graph.input] == ["x"]
    assert run(made, x, "y")[0].shape == (32, 24, 12, 12)


def test_the_output_of_a_layer_normalization_keeps_its_extremes_when_it_is_equalized() -> None:
    proto = transformer()
    ranges, channels = measured(proto, data(proto))
    narrow = {name: TensorRange(own.amax / 2, own.low / 2, own.high / 2) for name, own in ranges.items()}
    factors = equalize(proto.graph, narrow, channels)
    assert factors
    for name in factors:
        assert narrow[name].high >= channels[name].maximum.max() and narrow[name].low <= channels[name].minimum.min()


def test_a_clip_keeps_the_range_that_it_was_given() -> None:
    proto = mobile()
    ranges, channels = measured(proto, data(proto))
    narrow = {name: TensorRange(own.amax / 2, own.low / 2, own.high / 2) for name, own in ranges.items()}
    before = dict(narrow)
    equalize(proto.graph, narrow, channels)
    assert narrow == before
