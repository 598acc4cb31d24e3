"""Writes ONNX models, with external weights where they pass protobuf's 2 GB."""

from __future__ import annotations

from pathlib import Path

import onnx

LARGEST_SINGLE_FILE = 1_900_000_000  # bytes; protobuf refuses messages of 2 GiB
MODEL_FILE = "model.onnx"
WEIGHTS_FILE = "model.onnx.data"


def save_model(proto: onnx.ModelProto, folder: Path) -> None:
    """Write ``model.onnx`` into ``folder``, and ``model.onnx.data`` beside it when the weights are large."""
    weights = sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
    large = weights > LARGEST_SINGLE_FILE
    onnx.save_model(
        proto,
        str(folder / MODEL_FILE),
        save_as_external_data=large,
        all_tensors_to_one_file=True,
        location=WEIGHTS_FILE if large else None,
    )
