"""What works on other tools' files: ``convert`` and ``lint``, as Python functions."""

from __future__ import annotations

from pathlib import Path

from quantkit.arguments import AnyPath
from quantkit.pipeline.conversion.stage import Conversion
from quantkit.pipeline.conversion.stage import convert as run_conversion
from quantkit.targets.tensorrt.lint import lint_file
from quantkit.targets.tensorrt.lint.finding import Finding


def convert(
    source: AnyPath,
    to: str,
    *,
    model: AnyPath | None = None,
    output: AnyPath | None = None,
    tensorrt: str | None = None,
    algorithm: str | None = None,
    force: bool = False,
) -> Conversion:
    """Turn TensorRT caches, dynamic ranges, onnxruntime's TensorsData and Q/DQ models into one another.

    Args:
        source: A calibration cache, ``name:amax`` lines, TensorsData, a run directory or a Q/DQ model.
        to: "qdq", "ranges", "cache", "json" (a run directory) or "tensors-data".
        model: The floating-point ONNX model; "qdq" and "json" need it, all are checked with it.
        output: What to write; None leaves the text in the result.
        tensorrt: The version in a cache; None means the source's, or 8.6.0.
        algorithm: "entropy" or "minmax" in a cache; None means the source's, or entropy.
        force: Replace a file at ``output`` that quantkit did not write.

    Returns:
        The ranges, the text, and notes on what could not be carried over.

    Raises:
        BadInput: The source cannot be read, or the form is unknown or lacks what it needs.
    """
    paths = [None if path is None else Path(path) for path in (model, output)]
    return run_conversion(Path(source), to, paths[0], paths[1], tensorrt, algorithm, force)


def lint(model: AnyPath) -> list[Finding]:
    """What breaks TensorRT's rules in a model's Q/DQ pairs, worst first, whichever tool placed them.

    Raises BadInput for a file that cannot be read or holds no pair.
    """
    return lint_file(Path(model))
