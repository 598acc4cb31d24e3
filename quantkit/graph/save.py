"""Writes ONNX models, with external weights where they pass protobuf's 2 GB."""

from __future__ import annotations

from pathlib import Path

import onnx

LARGEST_SINGLE_FILE = 1_900_000_000  # bytes; protobuf refuses messages of 2 GiB
MODEL_FILE = "model.onnx"


def save_model(proto: onnx.ModelProto, folder: Path, name: str = MODEL_FILE) -> None:
    """Write the model into ``folder`` as ``name``, and ``<name>.data`` beside it when the weights are large."""
    weights = sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
    large = weights > LARGEST_SINGLE_FILE
    onnx.save_model(
        proto,
        str(folder / name),
        save_as_external_data=large,
        all_tensors_to_one_file=True,
        location=f"{name}.data" if large else None,
    )
