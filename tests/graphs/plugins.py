"""Models with operators that onnxruntime does not have."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from tests.graphs.small import weights

ANCHORS, SIZE = 64, 16
NMS = """EfficientNMS_TRT <plugin_version: string = "1", score_activation: int = 0, background_class: int = -1,
  max_output_boxes: int = 8, score_threshold: float = 0.1, iou_threshold: float = 0.5, box_coding: int = 1>"""


def network(text: str, constants: dict[str, Any], domain: str = "TRT") -> onnx.ModelProto:
    """A model of ONNX's own operators and of those of another domain."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17, "{domain}": 1]> g {text}')
    for name, values in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
    return model


def detector(domain: str = "TRT") -> onnx.ModelProto:
    """A small detector of two classes that ends in TensorRT's NMS."""
    dot = f"{domain}." if domain else ""
    constants = {
        "w1": weights(16, 3, 3, 3),
        "w2": weights(16, 16, 3, 3),
        "w3": weights(6, 16, 1, 1, gain=2.0),
        "shape": np.array([0, 6, -1]),
        "parts": np.array([4, 2]),
    }
    given = "int32[N,1] count, float[N,8,4] boxes, float[N,8] scores, int32[N,8] classes"
    text = f"""(float[N,3,{SIZE},{SIZE}] x) => ({given}) {{
      c1 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w1)
      r1 = Relu (c1)
      c2 = Conv <pads = [1, 1, 1, 1]> (r1, w2)
      r2 = Relu (c2)
      head = Conv (r2, w3)
      flat = Reshape (head, shape)
      rows = Transpose <perm = [0, 2, 1]> (flat)
      places, logits = Split <axis = 2> (rows, parts)
      chances = Sigmoid (logits)
      count, boxes, scores, classes = {dot}{NMS} (places, chances)
    }}"""
    return network(text, constants, domain or "TRT")


def images(count: int) -> npt.NDArray[np.float32]:
    """Random inputs of the detector."""
    return np.random.default_rng(count).normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)
