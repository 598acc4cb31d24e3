"""What works on other tools' files: ``check``, ``convert`` and ``lint``, as Python functions."""

from __future__ import annotations

from pathlib import Path

from quantkit.arguments import AnyModel, AnyPath, Names, model_of, several
from quantkit.pipeline.check import check_model
from quantkit.pipeline.conversion.stage import Conversion
from quantkit.pipeline.conversion.stage import convert as run_conversion
from quantkit.targets import all_targets, targets_named
from quantkit.targets.parsing import Parsing
from quantkit.targets.tensorrt import TensorRTSettings
from quantkit.targets.tensorrt.lint import lint_file
from quantkit.targets.tensorrt.lint.finding import Finding


def check(model: AnyModel, target: Names | None = None, *, tensorrt: str | None = None) -> dict[str, list[Parsing]]:
    """Let each target's own parsers read a model as it stands, before any work is done on it.

    Args:
        model: An ONNX file, or an ``onnx.ModelProto``.
        target: One name or several; None means every target.
        tensorrt: The version of TensorRT that will read the model, whose opsets are known; None compares none.

    Returns:
        What each parser refuses, by target; one that is not installed is unchecked.

    Raises:
        BadInput: The file cannot be read, or there is no such target.
    """
    settings = {"tensorrt": TensorRTSettings(version=tensorrt)}
    targets = list(all_targets(settings).values()) if target is None else targets_named(several(target), settings)
    return check_model(model_of(model), targets)


def convert(
    source: AnyPath,
    to: str,
    *,
    model: AnyModel | None = None,
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
    own = None if model is None else model_of(model, output if to == "json" else None)
    return run_conversion(Path(source), to, own, None if output is None else Path(output), tensorrt, algorithm, force)


def lint(model: AnyModel) -> list[Finding]:
    """What breaks TensorRT's rules in a model's Q/DQ pairs, worst first, whichever tool placed them.

    Raises BadInput for a file that cannot be read or holds no pair.
    """
    return lint_file(model_of(model))
