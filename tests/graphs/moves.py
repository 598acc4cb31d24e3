"""Layers that move values, and layers that only seem to, as text: each computes ``moved`` from ``a``, (1, 16, 8, 8)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper, parser
from onnx.reference import ReferenceEvaluator

from quantkit.core.ranges import TensorRange
from quantkit.graph.model_file import ModelFile, open_model

SHAPE = "1,16,8,8"
CONSTANTS = """<int64[4] twice = {1, 1, 2, 2}, int64[4] shape = {2, 16, 8, 8}, float[4] factors = {1, 1, 2, 2},
    int64[1] two = {2}, int64[1] six = {6}, float ratio = {0.5}, bool training = {1}>"""
OPSETS = 'ir_version: 9, opset_import: ["": 18, "com.example": 1]'

# Rounding commutes with these, and the output has the range of the input.
WHOLE = {
    "DepthToSpace": "moved = DepthToSpace <blocksize = 2> (a)",
    "SpaceToDepth": "moved = SpaceToDepth <blocksize = 2> (a)",
    "Tile": "moved = Tile (a, twice)",
    "Expand": "moved = Expand (a, shape)",
    "Transpose": "moved = Transpose <perm = [0, 1, 3, 2]> (a)",
    "Dropout": "moved = Dropout (a)",
    "MaxPool": "moved = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)",
}
# It commutes with these, but the output is a part of the input, and may have a smaller range.
PARTS = {
    "Slice": "moved = Slice (a, two, six, two)",
    "Split": "moved, rest = Split <axis = 2, num_outputs = 2> (a)",
    "Gather": "moved = Gather <axis = 2> (a, two)",
}
# It does not commute with these.
OTHERS = {
    "Cast": "half = Cast <to = 10> (a)  moved = Cast <to = 1> (half)",
    "Dropout in training": "moved = Dropout (a, ratio, training)",
    "MaxPool with indices": "moved, places = MaxPool <kernel_shape = [2, 2]> (a)",
    "Identity of another library": "moved = com.example.Identity (a)",
}
RESIZE = 'moved = Resize <mode = "nearest"> (a, , factors)'


def model_of(body: str, tmp_path: Path, *outputs: str) -> ModelFile:
    """A model of ``input``, with weights of one pixel: w for 16 channels, w4 for 4, w64 for 64; nodes named by output.

    ``outputs`` are its outputs; none stands for ``out`` alone.
    """
    text = f"<{OPSETS}> g (float[{SHAPE}] input) => (float[n, c, h, w] out) {CONSTANTS} {{ {body} }}"
    model = parser.parse_model(text)
    for node in model.graph.node:
        node.name = node.output[0]
    rng = np.random.default_rng(0)
    for name, channels in (("w", 16), ("w4", 4), ("w64", 64)):
        weight = (rng.standard_normal((16, channels, 1, 1)) * 0.2).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    if outputs:
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    onnx.save(model, tmp_path / "model.onnx")
    return open_model(tmp_path / "model.onnx")


def weight_behind(kind: str) -> str:
    """The weight that fits ``moved``."""
    return {"DepthToSpace": "w4", "SpaceToDepth": "w64"}.get(kind, "w")


def ranges_for(model: ModelFile, amax: float = 1.0, **own: float) -> dict[str, TensorRange]:
    """[-amax, amax] for every tensor, another one for those of ``own``."""
    names = ["input", *(name for node in model.graph_only.graph.node for name in node.output)]
    return {name: TensorRange.symmetric(a, -a, a) for name in names for a in [own.get(name, amax)]}


def moved_integers(body: str, a: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """``moved`` computed in INT8."""
    text = f"<{OPSETS}> g (int8[{SHAPE}] a) => (int8[n, c, h, w] moved) {CONSTANTS} {{ {body} }}"
    values = ReferenceEvaluator(parser.parse_model(text)).run(["moved"], {"a": a})
    return np.asarray(values[0])
