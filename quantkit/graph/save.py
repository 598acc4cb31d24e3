"""Writes ONNX models, with external weights if they exceed protobuf's 2 GB."""

from __future__ import annotations

from pathlib import Path

import onnx

LARGEST_SINGLE_FILE = 1_900_000_000  # bytes; protobuf refuses messages of 2 GiB
MODEL_FILE = "model.onnx"


def save_model(proto: onnx.ModelProto, folder: Path, name: str = MODEL_FILE) -> None:
    """Write a model to a folder.

    Args:
        proto: The model.
        folder: An existing folder.
        name: The name of the file. Weights of more than LARGEST_SINGLE_FILE bytes go into ``<name>.data`` beside it.
    """
    weights = sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
    large = weights > LARGEST_SINGLE_FILE
    onnx.save_model(
        proto,
        str(folder / name),
        save_as_external_data=large,
        all_tensors_to_one_file=True,
        location=f"{name}.data" if large else None,
    )
