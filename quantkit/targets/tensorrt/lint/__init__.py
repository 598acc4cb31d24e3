"""Finds the Q/DQ pairs of a model that break TensorRT's rules.

The rules come from NVIDIA's "Working with Quantized Types" (Q/DQ layer-placement recommendations), and from what
TensorRT's ONNX parser asserts. docs/tensorrt-qdq.md describes every rule.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from quantkit.core.errors import BadInput, BadModel
from quantkit.graph.operators import DEQUANTIZE, QUANTIZE
from quantkit.targets.tensorrt.lint.finding import RULES, Finding
from quantkit.targets.tensorrt.lint.fusions import fusions
from quantkit.targets.tensorrt.lint.layers import layers
from quantkit.targets.tensorrt.lint.pairs import INTEGER_OPERATORS, pairs
from quantkit.targets.tensorrt.lint.read import read_quantized
from quantkit.targets.tensorrt.lint.sparsity import sparsity
from quantkit.targets.tensorrt.lint.values import values
from quantkit.targets.tensorrt.lint.view import View


def lint_file(path: Path) -> list[Finding]:
    """Lint an ONNX file; see :func:`lint`.

    Raises:
        BadInput: The file cannot be read, has no Q/DQ, or is damaged; the message names it.
    """
    try:
        return lint(read_quantized(path))
    except BadInput as error:
        if str(path) in error.what:
            raise
        raise BadModel(f"{path}: {error.what}", error.hint) from error


def lint(model: onnx.ModelProto) -> list[Finding]:
    """Return what is wrong with the Q/DQ of a model, worst first.

    Raises:
        BadInput: The model has no Q/DQ, or is damaged.
    """
    view = View(model)
    if not any(node.op_type in {QUANTIZE, DEQUANTIZE} | INTEGER_OPERATORS for node in view.graph.nodes):
        raise BadModel(
            "The model holds no QuantizeLinear and no DequantizeLinear.",
            "Give a model with Q/DQ pairs, such as artifacts/tensorrt/int8/model.onnx.",
        )
    found = [finding for rules in (values, pairs, fusions, layers) for finding in rules(view)]
    found += sparsity(model)
    order = list(RULES)
    return sorted(found, key=lambda finding: order.index(finding.rule))
