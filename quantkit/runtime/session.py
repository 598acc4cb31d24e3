"""Makes onnxruntime sessions on the CPU or a GPU, for models with or without external weights."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime as ort

from quantkit.core.errors import BackendMissing, BadModel
from quantkit.core.wording import line_of

EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
ALLOW_SPINNING = "session.intra_op.allow_spinning"
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
FATAL_ONLY = 4  # a logged error is also raised, with the same text


def cpu_session(
    model: bytes | Path,
    weights_folder: Path | None = None,
    threads: int | None = None,
    optimized: bool = True,
    arena: bool = True,
) -> ort.InferenceSession:
    """Make a CPU session.

    Args:
        model: A file, or a serialized model.
        weights_folder: The folder of a serialized model's external weights.
        threads: The number of threads that compute each run; None means one for every core.
        optimized: False computes node by node as the graph says: the optimizer moves and merges Q/DQ pairs.
        arena: False gives memory back after each run, which counts where there are many sessions.

    Returns:
        The session.

    Raises:
        BadModel: onnxruntime cannot load the model; the message names the operator or tensor that onnxruntime names.
    """
    options = ort.SessionOptions()
    options.log_severity_level = FATAL_ONLY
    if weights_folder is not None:
        options.add_session_config_entry(EXTERNAL_FOLDER, str(weights_folder.resolve()))
    if threads is not None:
        options.intra_op_num_threads = threads
        options.add_session_config_entry(ALLOW_SPINNING, "0")  # waiting threads would take cores from the counting
        options.enable_mem_pattern = False  # its one block for all temporaries takes more memory and saves no time
    options.enable_cpu_mem_arena = arena
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return _loaded(model, options, [CPU])


def gpu_session(model: bytes | Path, weights_folder: Path | None, number: int) -> ort.InferenceSession:
    """Make a session on a GPU that computes in FP32, without TF32; what has no kernel there runs on the CPU.

    Args:
        model: A file, or a serialized model.
        weights_folder: The folder of a serialized model's external weights.
        number: The number of the GPU.

    Raises:
        BackendMissing: onnxruntime's CUDA provider is not there.
        BadModel: onnxruntime cannot load the model.
    """
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA and cuDNN as pip installs them
    hint = "Install onnxruntime-gpu in place of onnxruntime, with the CUDA and cuDNN that it names."
    if CUDA not in ort.get_available_providers():
        raise BackendMissing("This onnxruntime has no CUDA.", hint)
    options = ort.SessionOptions()
    options.log_severity_level = FATAL_ONLY
    if weights_folder is not None:
        options.add_session_config_entry(EXTERNAL_FOLDER, str(weights_folder.resolve()))
    own = {"device_id": str(number), "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
    session = _loaded(model, options, [(CUDA, own), CPU])
    if CUDA not in session.get_providers():
        raise BackendMissing("onnxruntime cannot load its CUDA provider.", hint)
    return session


def _loaded(
    model: bytes | Path, options: ort.SessionOptions, providers: list[str | tuple[str, dict[str, str]]]
) -> ort.InferenceSession:
    try:
        return ort.InferenceSession(str(model) if isinstance(model, Path) else model, options, providers=providers)
    except Exception as error:
        raise BadModel(
            f"onnxruntime cannot load the model ({line_of(error)}).", "Check that it runs in onnxruntime."
        ) from error


def give_back_memory() -> None:
    """Return freed memory to the system. After a session is built, glibc holds more of it than the model's size."""
    with suppress(OSError, AttributeError):  # other C libraries lack malloc_trim
        ctypes.CDLL(None).malloc_trim(0)


def failed_on(inputs: Mapping[str, npt.NDArray[Any]], error: Exception, hint: str) -> BadModel:
    """Return the error for a model that onnxruntime cannot run on these inputs."""
    shapes = ", ".join(f"{name} {array.shape}" for name, array in inputs.items())
    return BadModel(f"The model failed on an input of shape {shapes} in onnxruntime ({line_of(error)}).", hint)
