"""Models that a program holds in memory: written to a file, which all stages read."""

from __future__ import annotations

import atexit
import hashlib
import re
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import onnx

from quantkit.core.errors import BadModel
from quantkit.core.files import atomic_file, make_folder

FOLDER = ".model"  # in a run directory
LONGEST_NAME = 60  # characters
LARGEST = (1 << 31) - 1  # bytes of one protobuf message


def written_model(model: Any, run: Path | None) -> Path:
    """Write an ``onnx.ModelProto`` to a file that is named by its graph, in a folder that is named by its content.

    Args:
        model: The model, with its weights.
        run: The run directory that keeps it; None for a temporary folder, which goes when the process ends.

    Returns:
        The file.

    Raises:
        BadModel: It is no ONNX model, it is too large, or its weights lie in files of their own.
    """
    if not isinstance(model, onnx.ModelProto):
        raise BadModel(f"{type(model).__name__} is no ONNX model.", "Give a path, or an onnx.ModelProto.")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise BadModel("The model's weights lie in files of their own.", "Give the path of its ONNX file.")
    if model.ByteSize() > LARGEST:
        raise BadModel("A model of over 2 GiB cannot be handed over in memory.", "Save it, and give its path.")
    content = model.SerializeToString(deterministic=True)
    folder = make_folder((run or _temporary()) / FOLDER / hashlib.sha256(content).hexdigest()[:16])
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", model.graph.name).strip("-")[:LONGEST_NAME] or "model"
    path = folder / f"{name}.onnx"
    if not path.is_file():
        with atomic_file(path) as temporary:
            temporary.write_bytes(content)
    return path.absolute()


@lru_cache(maxsize=1)
def _temporary() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="quantkit-models-")
    atexit.register(folder.cleanup)
    return Path(folder.name)
