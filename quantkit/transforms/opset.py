"""States an older opset, or rewrites a model for one, if it computes the same there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from quantkit.core.errors import TargetRefuses
from quantkit.core.wording import line_of, some
from quantkit.graph.conversion import converted, set_aside
from quantkit.graph.graph import Graph, attribute, graphs_of, operand, values_of
from quantkit.graph.model_file import ModelFile, Rewritten, opset_of, without_weights
from quantkit.graph.operators import is_default_domain, is_foreign

# Operators that mean another thing since an opset, with the same inputs and attributes: Mod's remainder has the
# divisor's sign, a GroupNormalization has a scale for each channel, GridSample's modes have other names, a DFT has
# another default axis.
NEW_MEANING = {"Mod": 28, "GroupNormalization": 21, "GridSample": 20, "DFT": 20}
# Values of attributes that came with an opset: the operator, the attribute, the value, the opset.
NEW_VALUES = (
    ("Pad", "mode", "wrap", 19),
    ("Resize", "coordinate_transformation_mode", "half_pixel_symmetric", 19),
    ("ScatterND", "reduction", "max", 18),
    ("ScatterND", "reduction", "min", 18),
    ("ScatterElements", "reduction", "max", 18),
    ("ScatterElements", "reduction", "min", 18),
)
AXES_AS_INPUT = 18  # of every Reduce… but ReduceSum; an attribute before
NUM_OUTPUTS = 18  # the first opset in which a Split states the number of its outputs


def at_opset(model: ModelFile, newest: int, reader: str) -> ModelFile:
    """Return a model of an opset that a runtime reads, which computes the same. Tensors keep their names.

    Args:
        model: The model; it is not changed.
        newest: The newest opset that the runtime reads.
        reader: The runtime, for the message.

    Returns:
        The model itself if its opset is not newer; else a temporary copy.

    Raises:
        TargetRefuses: ONNX has no way to say the same in that opset.
    """
    if model.opset <= newest:
        return model
    proto = replace(model, weights={}).load()  # replaced weights are put in by name, as before
    older = onnx.ModelProto()
    older.CopyFrom(proto)
    use_older_forms(older, newest)
    if not state_opset(older, newest):
        older = _converted(proto, newest, model, reader)
    done = *(model.rewritten.done if model.rewritten else ()), f"opset {model.opset} converted to {newest}"
    return replace(model, graph_only=without_weights(older), opset=opset_of(older), rewritten=Rewritten(older, done))


def state_opset(proto: onnx.ModelProto, newest: int) -> bool:
    """State an older opset, in place, if all nodes are the same in it.

    ONNX gives operators a new version for every new type, and runtimes follow years later.

    Args:
        proto: The model.
        newest: The opset to state.

    Returns:
        True if the model states no newer one now.
    """
    nodes = [node for graph in graphs_of(proto.graph) for node in graph.node if is_default_domain(node)]
    for entry in proto.opset_import:
        if entry.domain not in ("", "ai.onnx") or entry.version <= newest:
            continue
        stated = entry.version
        if not all(is_same_in(node, stated, newest) for node in nodes):
            return False
        entry.version = newest
        try:  # an operator may have had fewer types then
            onnx.shape_inference.infer_shapes(without_weights(proto), check_type=True, strict_mode=True)
        except Exception:  # noqa: BLE001  (whatever it says, the model stays as it was)
            entry.version = stated
            return False
    return True


def is_same_in(node: onnx.NodeProto, stated: int, opset: int) -> bool:
    """True if a node of opset ``stated`` means the same in an older one, which has all its inputs and attributes."""
    if is_foreign(node):
        return True
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        return False
    if opset < NEW_MEANING.get(node.op_type, 0) <= stated:
        return False
    for operator, name, value, since in NEW_VALUES:
        if node.op_type == operator and opset < since and attribute(node, name, "") == value:
            return False
    named = {own.name for own in node.attribute} <= set(schema.attributes)
    return named and len(node.input) <= schema.max_input and len(node.output) <= schema.max_output


def use_older_forms(proto: onnx.ModelProto, newest: int) -> None:
    """Write what has an older form in that form, in place: constant axes of reductions, and even splits."""
    if newest >= max(AXES_AS_INPUT, NUM_OUTPUTS):
        return
    graphs = list(graphs_of(proto.graph))
    constants = {name: tensor for graph in graphs for name, tensor in Graph(graph).constants.items()}
    nodes = [node for graph in graphs for node in graph.node if is_default_domain(node)]
    for node in nodes:
        if node.op_type.startswith("Reduce") and node.op_type != "ReduceSum":
            _axes_as_attribute(node, constants)
    splits = [node for node in nodes if node.op_type == "Split" and attribute(node, "num_outputs", 0)]
    shapes = _shapes(proto) if splits else {}
    for node in splits:
        dims, axis = shapes.get(operand(node, 0), []), attribute(node, "axis", 0)
        if -len(dims) <= axis < len(dims) and dims[axis] and dims[axis] % len(node.output) == 0:
            _drop(node, "num_outputs")


def _axes_as_attribute(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> None:
    if len(node.input) < len(("data", "axes")):
        return
    name = operand(node, 1)
    held = values_of(constants[name], name) if name in constants else None
    axes = held if name else np.zeros(0, np.int64)
    if axes is None or (not axes.size and attribute(node, "noop_with_empty_axes", 0)):
        return
    del node.input[1:]
    _drop(node, "noop_with_empty_axes")
    if axes.size:
        node.attribute.append(helper.make_attribute("axes", [int(axis) for axis in axes.reshape(-1)]))


def _drop(node: onnx.NodeProto, name: str) -> None:
    kept = [own for own in node.attribute if own.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


def _shapes(proto: onnx.ModelProto) -> dict[str, list[int]]:
    """Return the shapes that ONNX infers; a dynamic dimension is 0."""
    inferred = onnx.shape_inference.infer_shapes(without_weights(proto)).graph
    values = [value for graph in graphs_of(inferred) for value in (*graph.value_info, *graph.input, *graph.output)]
    return {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}


def _converted(proto: onnx.ModelProto, newest: int, model: ModelFile, reader: str) -> onnx.ModelProto:
    """Convert by ONNX's own converter, which knows nothing of nodes in subgraphs."""
    export = f"Export it with opset {newest} or older."
    try:
        made = converted(proto, newest)
        onnx.checker.check_model(set_aside(without_weights(made)))
    except Exception as error:
        newer = _newer_operators(proto, newest)
        because = some(newer) if newer else line_of(error, last=True)
        raise TargetRefuses(
            f"{reader} reads up to opset {newest}; {model.path} has {model.opset}, and ONNX cannot convert it "
            f"({because}).",
            export,
        ) from error
    inner = [node for graph in graphs_of(made.graph) for node in graph.node if is_default_domain(node)]
    inner = [node for node in inner if not is_same_in(node, newest, newest)]
    lost = {name for node in proto.graph.node for name in node.output} - {n for m in made.graph.node for n in m.output}
    if inner or lost - {""}:
        named = [node.op_type for node in inner] or sorted(lost)
        raise TargetRefuses(
            f"{reader} reads up to opset {newest}; {model.path} has {model.opset}, and is another model after ONNX's "
            f"conversion ({some(named)}).",
            export,
        )
    return made


def _newer_operators(proto: onnx.ModelProto, newest: int) -> list[str]:
    """Return the operators of which some node cannot be stated in an opset."""
    stated = opset_of(proto)
    nodes = [node for graph in graphs_of(proto.graph) for node in graph.node if is_default_domain(node)]
    return list(dict.fromkeys(node.op_type for node in nodes if not is_same_in(node, stated, newest)))
