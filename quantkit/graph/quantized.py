"""Tells whether a model is quantized already, and how, whichever tool did it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from quantkit.graph.graph import Graph, operand, subgraphs, values_of

QUANTIZE = "QuantizeLinear"
INTEGER_OPS = frozenset({"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"})  # ONNX's own, beside QLinear…
MICROSOFT_OPS = frozenset(
    {
        *("DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulIntegerToFloat", "MulInteger"),
        *("QAttention", "QEmbedLayerNormalization", "QGemm", "QMoE", "GatherBlockQuantized"),
        *("MatMulNBits", "MatMulBnb4", "MatMulFpQ4"),
    }
)
WEIGHTS_ALONE = ("MatMulNBits", "MatMulBnb4", "MatMulFpQ4", "GatherBlockQuantized")
UNSIGNED = frozenset({"uint8", "uint16", "uint4"})


@dataclass(frozen=True)
class Quantization:
    """How a model is quantized.

    Attributes:
        pairs: The number of activations that a QuantizeLinear rounds.
        operators: The number of operators on integers, by type, most frequent first.
        types: The types that activations are rounded to, where zero-points tell.
        dialect: Whose form it looks like, in words.
    """

    pairs: int
    operators: dict[str, int]
    types: tuple[str, ...]
    dialect: str

    @property
    def has_pairs(self) -> bool:
        """True if the ranges of activations can be read out of pairs."""
        return self.pairs > 0 and not any(name.startswith("QLinear") for name in self.operators)

    def describe(self) -> str:
        """Return one clause: how many pairs and operators, and the dialect."""
        told = []
        if self.pairs:
            types = f" of {' and '.join(self.types)}" if self.types else ""
            told.append(f"{self.pairs} Q/DQ pair{'' if self.pairs == 1 else 's'}{types}")
        if self.operators:
            count = sum(self.operators.values())
            named = ", ".join(f"{count} {name}" for name, count in self.operators.items())
            told.append(f"{count} operator{'' if count == 1 else 's'} on integers ({named})")
        return f"{' and '.join(told)}: {self.dialect}"

    def ways(self, path: Path) -> str:
        """Return what can be done with the model in ``path``: one clause."""
        file = shlex.quote(str(path))
        if self.has_pairs:
            return (
                f"quantkit convert {file} --to json --model FLOAT.onnx -o RUN reads this one's ranges for it, and "
                f"quantkit lint {file} tells what TensorRT makes of its pairs"
            )
        return f"this one has no Q/DQ pairs to read ranges from; quantkit inspect {file} shows what it holds"

    def to_dict(self) -> dict[str, Any]:
        """Return the record as values for JSON."""
        return {
            "pairs": self.pairs,
            "operators": self.operators,
            "types": list(self.types),
            "dialect": self.dialect,
        }


def quantization_of(model: onnx.ModelProto) -> Quantization | None:
    """Return how a model is quantized, those of its layers in subgraphs and functions included.

    A rounding of constants alone, as of weights, is none: it is computed before anything else.

    Args:
        model: The model, with or without the data of its weights.

    Returns:
        The description; None if the model computes in floating point.
    """
    graphs = [Graph(graph) for graph in graphs_of(model)]
    constants = {name: tensor for graph in graphs for name, tensor in graph.constants.items()}
    rounding: list[onnx.NodeProto] = []
    operators: Counter[str] = Counter()
    for graph in graphs:
        for node in graph.nodes:
            if node.op_type == QUANTIZE and operand(node, 0) not in graph.constants:
                rounding.append(node)
            elif _on_integers(node):
                operators[node.op_type] += 1
    if not rounding and not operators:
        return None
    zeros = [constants.get(operand(node, 2)) for node in rounding]
    types = tuple(sorted({kind for node, zero in zip(rounding, zeros, strict=True) if (kind := _type(node, zero))}))
    dialect = _dialect(zeros, operators, types)
    return Quantization(len(rounding), dict(operators.most_common()), types, dialect)


def graphs_of(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """Yield the graph, those inside it at any depth, and the bodies of functions."""
    waiting = [model.graph, *(onnx.GraphProto(node=function.node) for function in model.functions)]
    while waiting:
        graph = waiting.pop()
        yield graph
        waiting += [inner for node in graph.node for inner in subgraphs(node)]


def _on_integers(node: onnx.NodeProto) -> bool:
    if node.domain in ("", "ai.onnx"):
        return node.op_type in INTEGER_OPS or node.op_type.startswith("QLinear")
    return node.domain == "com.microsoft" and (
        node.op_type in MICROSOFT_OPS or node.op_type.startswith(("QLinear", "QOrdered"))
    )


def _type(quantize: onnx.NodeProto, zero: onnx.TensorProto | None) -> str:
    """Return the type that a QuantizeLinear rounds to; empty if it is not told."""
    declared = next((own.i for own in quantize.attribute if own.name == "output_dtype"), 0)
    if zero is None and operand(quantize, 2) and not declared:
        return ""
    code = zero.data_type if zero is not None else declared or onnx.TensorProto.UINT8
    return str(onnx.TensorProto.DataType.Name(code)).lower()


def _dialect(zeros: Sequence[onnx.TensorProto | None], operators: Mapping[str, int], types: Sequence[str]) -> str:
    if any(name.startswith("QLinear") for name in operators):
        return "like onnxruntime's QOperator format"
    if operators:
        weights_alone = all(name in WEIGHTS_ALONE for name in operators)
        return (
            "weights alone, like onnxruntime's blocks" if weights_alone else "like onnxruntime's dynamic quantization"
        )
    if any(kind.startswith("float") for kind in types):
        return "FP8"
    if UNSIGNED & set(types):
        return "affine, as ONNX Runtime and OpenVINO run it"
    if any(values is not None and values.any() for zero in zeros if zero is not None for values in [values_of(zero)]):
        return "affine and signed, as onnxruntime's quantizer writes it by default"
    return "symmetric, as TensorRT runs it"
