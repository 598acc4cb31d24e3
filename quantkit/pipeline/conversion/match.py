"""Compares imported ranges with a model."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from quantkit.core.errors import BadData
from quantkit.core.ranges import TensorRange
from quantkit.formats.imported import Imported
from quantkit.graph.float_tensors import float_tensors, needed_tensors
from quantkit.graph.fused import fused_outputs
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile
from quantkit.graph.operators import never_negative
from quantkit.qdq.reader import QDQ_MODEL

PARSERS_OWN = re.compile(r"\(Unnamed (Layer|ITensor)\* \d+\)")  # names that TensorRT's ONNX parser makes up
ENOUGH = 0.5  # share of common names; with fewer, the ranges belong to another model


@dataclass(frozen=True)
class Match:
    """The names in a model and in ranges, in the order of the model or of the source.

    Attributes:
        tensors: The model's float inputs and activations.
        fused: Tensors without a range that exist only inside a fused kernel, and get the range of its output.
        missing: All other tensors without a range.
        parsers_own: Names in the source that TensorRT's parser made up.
        constants: Names in the source of the model's constants and integer tensors.
        foreign: Names in the source that are not in the model.
    """

    tensors: tuple[str, ...]
    fused: tuple[str, ...]
    missing: tuple[str, ...]
    parsers_own: tuple[str, ...]
    constants: tuple[str, ...]
    foreign: tuple[str, ...]


def match(imported: Imported, model: ModelFile, source: str) -> Match:
    """Compare the names in ranges and a model.

    Args:
        imported: The ranges.
        model: The model.
        source: What error messages call the ranges.

    Returns:
        The names that both have, and those that only one has.

    Raises:
        BadInput: Too few names are common: the ranges belong to another model.
    """
    graph = Graph(model.graph_only.graph)
    tensors = float_tensors(model.graph_only)
    known = set(tensors)
    graph_names = set(graph.initializers) | {name for node in graph.nodes for name in node.output}
    others = [name for name in imported.ranges if name not in known]
    parsers_own = tuple(name for name in others if PARSERS_OWN.match(name))
    constants = tuple(name for name in others if name in graph_names)
    foreign = tuple(name for name in others if name not in graph_names and not PARSERS_OWN.match(name))
    fused_into = fused_outputs(graph)
    lacking = [name for name in tensors if name not in imported.ranges]
    fused = tuple(name for name in lacking if fused_into.get(name) in imported.ranges)
    found = known - set(lacking)
    # A Q/DQ model may leave many tensors in floating point, so only the names that it has must be in the model.
    wanted = set(needed_tensors(graph, tensors)) or known
    if imported.form == QDQ_MODEL:
        wanted = set(imported.ranges) - {*parsers_own, *constants}
    have = len(wanted & (found | set(fused)))
    if not found or have < ENOUGH * len(wanted):
        raise BadData(
            f"{source} is of another model than {model.path}: it shares {have} of {len(wanted)} tensors to quantize.",
            "Give the model that was calibrated; its tensors must have kept their names.",
        )
    missing = tuple(name for name in lacking if name not in fused)
    return Match(tuple(tensors), fused, missing, parsers_own, constants, foreign)


def completed(imported: Imported, model: ModelFile) -> Imported:
    """Set low to 0 for tensors whose amax alone is known and that can never be negative."""
    unsigned = never_negative(Graph(model.graph_only.graph)) & imported.symmetric
    ranges = {
        name: TensorRange.asymmetric(0.0, range_.amax) if name in unsigned else range_
        for name, range_ in imported.ranges.items()
    }
    return replace(imported, ranges=ranges, symmetric=imported.symmetric - unsigned)
