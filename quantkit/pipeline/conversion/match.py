"""Compares imported ranges with the model that they are for."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from quantkit.core.errors import BadInput
from quantkit.core.ranges import TensorRange
from quantkit.formats.imported import Imported
from quantkit.graph.float_tensors import float_tensors, needed_tensors
from quantkit.graph.fused import fused_outputs
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile
from quantkit.graph.operators import never_negative

PARSERS_OWN = re.compile(r"\(Unnamed (Layer|ITensor)\* \d+\)")  # names that TensorRT's ONNX parser makes up
ENOUGH = 0.5  # share of names in common below which the ranges are another model's


@dataclass(frozen=True)
class Match:
    """Which names model and ranges share. All in the order of the model or of the source.

    ``tensors`` are the model's float inputs and activations. ``fused`` are those without a range that exist only inside
    a fused kernel, and get that of the kernel's output; ``missing`` have none. Of the source's other names,
    ``parsers_own`` were made up by TensorRT's parser, ``constants`` are the model's constants and integers, ``foreign``
    not in it.
    """

    tensors: tuple[str, ...]
    fused: tuple[str, ...]
    missing: tuple[str, ...]
    parsers_own: tuple[str, ...]
    constants: tuple[str, ...]
    foreign: tuple[str, ...]


def match(imported: Imported, model: ModelFile, source: str) -> Match:
    """Compare the names. Raises BadInput when hardly any are in common: then the ranges are another model's."""
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
    # A Q/DQ model may leave much in floating point: there the names that it has must be the model's.
    wanted = set(needed_tensors(graph, tensors)) or known
    if imported.form == "Q/DQ model":
        wanted = set(imported.ranges) - {*parsers_own, *constants}
    have = len(wanted & (found | set(fused)))
    if not found or have < ENOUGH * len(wanted):
        raise BadInput(
            f"{source} is of another model than {model.path}: it shares {have} of {len(wanted)} tensors to quantize.",
            "Give the model that was calibrated; its tensors must have kept their names.",
        )
    missing = tuple(name for name in lacking if name not in fused)
    return Match(tuple(tensors), fused, missing, parsers_own, constants, foreign)


def completed(imported: Imported, model: ModelFile) -> Imported:
    """With low = 0 for tensors of which only amax is known and that can never be negative."""
    unsigned = never_negative(Graph(model.graph_only.graph)) & imported.symmetric
    ranges = {
        name: TensorRange.asymmetric(0.0, range_.amax) if name in unsigned else range_
        for name, range_ in imported.ranges.items()
    }
    return replace(imported, ranges=ranges, symmetric=imported.symmetric - unsigned)
