"""Parses an ONNX file into a TensorRT network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from quantkit.core.errors import TargetRefuses
from quantkit.graph.operators import is_foreign
from quantkit.targets.tensorrt.engine.dimension_names import drop_false_names
from quantkit.targets.tensorrt.engine.libraries import TENSORRT, Library
from quantkit.targets.tensorrt.engine.shapes import Profile
from quantkit.targets.tensorrt.unbinds import gathers_for_unbinds, misread_by


def parsed(
    builder: Any, source: Path, strong: bool, library: Library = TENSORRT, profiles: Sequence[Profile] = ()
) -> tuple[Any, Any]:
    """Parse an ONNX file.

    Args:
        builder: TensorRT's builder.
        source: The ONNX file.
        strong: True for a strongly typed network.
        library: The library of the builder.
        profiles: The optimization profiles, by which dimensions that share a name by mistake are found.

    Returns:
        The network, and the parser, which must outlive it.

    Raises:
        TargetRefuses: TensorRT cannot parse the file; the message names the node and its operator.
    """
    trt = library.tensorrt()
    flags = 0
    creation = trt.NetworkDefinitionCreationFlag
    if hasattr(creation, "EXPLICIT_BATCH"):  # the only kind since 10; the flag was removed in 11
        flags |= 1 << int(creation.EXPLICIT_BATCH)
    if strong and hasattr(creation, "STRONGLY_TYPED"):
        flags |= 1 << int(creation.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, library.messages())
    model = onnx.load(str(source), load_external_data=False)
    mended = [drop_false_names(model.graph, profiles)]
    if misread_by(library.interface()):
        mended.append(gathers_for_unbinds(model.graph))
    # External weights are found by the path. Most files are parsed by it, too, which saves a copy.
    done = parser.parse(model.SerializeToString(), str(source)) if any(mended) else parser.parse_from_file(str(source))
    if not done:
        raise _refusal(parser, source, model.graph, library)
    return network, parser


def _refusal(parser: Any, source: Path, graph: onnx.GraphProto, library: Library) -> TargetRefuses:
    if not parser.num_errors:
        return TargetRefuses(
            f"{library.title} cannot parse {source} ({library.last_error()}).", "Export it to ONNX again."
        )
    error = parser.get_error(parser.num_errors - 1)
    number = error.node()
    where = ""
    if 0 <= number < len(graph.node):
        node = graph.node[number]
        where = f" at node {node.name or number!r} ({node.op_type})"
    hint = "Replace that operator in the model, or use another release of TensorRT."
    if 0 <= number < len(graph.node) and is_foreign(graph.node[number]):
        hint = "Load the library of its plugin (--plugin, plugins=), or replace that operator in the model."
    reason = " ".join(str(error.desc()).split())[:300]
    return TargetRefuses(f"{library.title} cannot parse {source}{where}: {reason}.", hint)
