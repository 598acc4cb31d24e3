"""Models and inputs that both TensorRT and quantkit calibrate."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.presets import PRESETS
from quantkit.datasets.transform import transform
from quantkit.demo.digits import load_split, upscale

Case = Callable[[], tuple[bytes, np.ndarray]]


def digits() -> tuple[bytes, np.ndarray]:
    """The demo's model on the demo's images."""
    images, _ = load_split("calib")
    preprocess = PRESETS["imagenet-stretch"].model_copy(update={"size": (64, 64), "layout": "nchw"})
    inputs = np.stack([transform(upscale(image).convert("RGB"), preprocess) for image in images])
    return resources.files("quantkit.demo").joinpath("digits.onnx").read_bytes(), inputs


def mixed() -> tuple[bytes, np.ndarray]:
    """Two-sided, one-sided, skewed and heavy-tailed activations: random weights, SiLU, a residual, pools, a Concat."""
    rng = np.random.default_rng(2026)
    nodes, weights = [], []

    def conv(source: str, target: str, out: int, into: int, size: int) -> str:
        kernel = rng.standard_normal((out, into, size, size)) / np.sqrt(into * size * size)
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"{target}_w"))
        weights.append(numpy_helper.from_array((rng.standard_normal(out) / 8).astype(np.float32), f"{target}_b"))
        padding = [size // 2] * 4
        nodes.append(helper.make_node("Conv", [source, f"{target}_w", f"{target}_b"], [target], pads=padding))
        return target

    def node(kind: str, inputs: list[str], target: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [target], **attributes))
        return target

    stem = node("Relu", [conv("input", "stem", 16, 3, 3)], "stem_relu")
    gate = node("Sigmoid", [conv(stem, "wide", 24, 16, 3)], "gate")
    silu = node("Mul", ["wide", gate], "silu")
    skip = node("Relu", [node("Add", [conv(silu, "narrow", 16, 24, 1), stem], "sum")], "sum_relu")
    pooled = node("MaxPool", [skip], "pooled", kernel_shape=[2, 2], strides=[2, 2])
    average = node("AveragePool", [skip], "averaged", kernel_shape=[2, 2], strides=[2, 2])
    both = node("Concat", [conv(pooled, "left", 16, 16, 3), conv(average, "right", 16, 16, 3)], "both", axis=1)
    clipped = node("Clip", [both, "zero", "six"], "clipped")
    weights += [numpy_helper.from_array(np.array(v, np.float32), n) for n, v in (("zero", 0), ("six", 6))]
    last = node("Flatten", [node("GlobalAveragePool", [clipped], "global")], "flat")
    weights.append(numpy_helper.from_array(rng.standard_normal((10, 32)).astype(np.float32), "gemm_w"))
    node("Gemm", [last, "gemm_w"], "logits", transB=1)
    graph = helper.make_graph(
        nodes,
        "mixed",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    # Smooth fields of very different contrast, a few of them extreme: heavy tails, and widths that have to double.
    fields = rng.standard_normal((200, 3, 8, 8)).repeat(4, axis=2).repeat(4, axis=3)
    inputs = fields * rng.lognormal(0, 0.7, (200, 1, 1, 1)) + rng.standard_normal((200, 3, 32, 32)) * 0.2
    return model.SerializeToString(), inputs.astype(np.float32)


CASES: dict[str, Case] = {"digits": digits, "mixed": mixed}
