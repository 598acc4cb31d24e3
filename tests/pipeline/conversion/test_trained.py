"""convert of a model of quantization-aware training: its scales and its weights' integers come through unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

from quantkit.core.errors import BadInput
from quantkit.formats.dynamic_ranges import read_ranges
from quantkit.formats.tensorrt_cache import parse_cache
from quantkit.pipeline.conversion.stage import convert
from quantkit.qdq.carried import QuantizedWeight, quantized_weights
from tests.conftest import tiny_model

# The tiny model's Gemm has a weight that is too small for INT8 to pay, so it stays in floating point.
LAYERS = ("conv1", "conv2")


def trained(folded: bool, learned: float) -> tuple[onnx.ModelProto, dict[str, np.float32]]:
    """The tiny model as pytorch-quantization exports it, and the scale of each quantized activation.

    ``folded``: the weights are integers, else they are FP32 and a QuantizeLinear behind them. ``learned``: the weights'
    ranges, as a share of their largest magnitude.
    """
    model = tiny_model()
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    random = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    scales: dict[str, np.float32] = {}

    def constant(name: str, values: npt.NDArray[np.generic]) -> str:
        model.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def pair(name: str, scale: npt.NDArray[np.float32], axis: int = 0) -> None:
        constants = [constant(f"{name}_s", scale), constant(f"{name}_z", np.zeros(scale.shape, np.int8))]
        nodes.append(helper.make_node("QuantizeLinear", [name, *constants], [f"{name}_q"], axis=axis))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", *constants], [f"{name}_d"], axis=axis))

    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            source, weight = node.input[0], node.input[1]
            if source not in scales:
                scales[source] = np.float32(0.01 + random.random() / 20)
                pair(source, np.asarray(scales[source]))
            values = held[weight]
            scale = (learned * np.abs(values).reshape(len(values), -1).max(axis=1) / 127).astype(np.float32)
            if folded:
                wide = scale.reshape(-1, *[1] * (values.ndim - 1))
                integers = np.clip(np.rint(values / wide), -127, 127).astype(np.int8)
                parts = [constant(f"{weight}_q", integers), constant(f"{weight}_s", scale)]
                nodes.append(helper.make_node("DequantizeLinear", parts, [f"{weight}_d"], axis=0))
            else:
                pair(weight, scale)
            node.input[0], node.input[1] = f"{source}_d", f"{weight}_d"
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model, scales


@pytest.fixture
def floating(tmp_path: Path) -> Path:
    onnx.save(tiny_model(), tmp_path / "float.onnx")
    return tmp_path / "float.onnx"


def saved(tmp_path: Path, folded: bool, learned: float) -> tuple[Path, dict[str, np.float32]]:
    model, scales = trained(folded, learned)
    onnx.save(model, tmp_path / "trained.onnx")
    return tmp_path / "trained.onnx", scales


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("to", ["cache", "ranges"])
def test_each_amax_is_127_scales(tmp_path: Path, folded: bool, to: str) -> None:
    source, scales = saved(tmp_path, folded, 1.0)
    text = convert(source, to).text
    found = parse_cache(text, "cache")[1] if to == "cache" else _amax(text)
    assert set(found) == set(scales) == {"input", "relu1", "flat"}
    for name, scale in scales.items():
        assert found[name] == pytest.approx(127 * float(scale), rel=0 if to == "cache" else 1e-8)


def _amax(text: str) -> dict[str, float]:
    return {name: own.amax for name, own in read_ranges(text, "ranges").ranges.items()}


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("learned", [1.0, 0.8])
def test_integers_of_weights_stay(tmp_path: Path, floating: Path, folded: bool, learned: float) -> None:
    """Also those of conv1, whose BatchNormalization is folded, so that its scales alone change."""
    source, _ = saved(tmp_path, folded, learned)
    done = convert(source, "qdq", floating, tmp_path / "q.onnx")
    assert not any("rounded anew" in note for note in done.notes)
    given, found = quantized_weights(source), quantized_weights(tmp_path / "q.onnx")
    for layer in LAYERS:
        np.testing.assert_array_equal(found[layer].integers, given[layer].integers)
    np.testing.assert_array_equal(found["conv2"].scale, given["conv2"].scale)
    gain = np.float64(np.float32(1.1)) / np.sqrt(np.float64(np.float32(0.9)) + 1e-5)
    np.testing.assert_allclose(found["conv1"].scale, gain * given["conv1"].scale, rtol=5e-3)


def test_weights_of_another_training_are_rounded_anew_and_said(tmp_path: Path) -> None:
    source, _ = saved(tmp_path, True, 1.0)
    other = tiny_model()
    tensor = next(own for own in other.graph.initializer if own.name == "w2")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[::-1].copy(), "w2"))
    onnx.save(other, tmp_path / "other.onnx")
    done = convert(source, "qdq", tmp_path / "other.onnx", tmp_path / "q.onnx")
    assert any("in conv2: these are rounded anew" in note for note in done.notes)
    weight: QuantizedWeight = quantized_weights(tmp_path / "q.onnx")["conv2"]
    exact = numpy_helper.to_array(tensor)
    assert np.abs(weight.values - exact).max() <= weight.scale.max()


def test_the_trained_model_itself_is_no_floating_point_model(tmp_path: Path) -> None:
    source, _ = saved(tmp_path, True, 1.0)
    with pytest.raises(BadInput, match="quantized already"):
        convert(source, "qdq", source, tmp_path / "q.onnx")
