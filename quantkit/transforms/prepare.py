"""Preparation for Q/DQ: a newer opset, constants as initializers, and arithmetic folded into the layers before it."""

from __future__ import annotations

import onnx
from onnx import version_converter

from quantkit.core.errors import TargetRefuses
from quantkit.graph.graph import graphs_of, held_tensor, unique_name
from quantkit.graph.model_file import ModelFile, without_weights
from quantkit.graph.operators import is_default_domain
from quantkit.transforms.folding import fold_arithmetic, fold_batch_norms, plain_gemms

QDQ_OPSET = 13  # the first opset with per-channel QuantizeLinear
QDQ_NEWEST_OPSET = 21
NEW_MEANING = {"Mod"}  # of newer versions: a float remainder may have the divisor's sign since opset 28
FREE_INITIALIZERS = 4  # the first IR version whose initializers need not be inputs


def prepared(model: ModelFile) -> onnx.ModelProto:
    """Return a copy of a model, with all weights, that Q/DQ can be placed in. Tensors keep their names.

    Raises:
        TargetRefuses: The model's opset is too old and cannot be upgraded.
    """
    proto = model.load()
    name_own_domain(proto)
    if 0 < model.opset < QDQ_OPSET:
        try:
            proto = version_converter.convert_version(proto, QDQ_OPSET)
        except Exception as error:
            raise TargetRefuses(
                f"{model.path} has opset {model.opset} and cannot be upgraded to {QDQ_OPSET} ({error}).",
                f"Export it with opset {QDQ_OPSET} or newer.",
            ) from error
    lower_opset(proto)
    constants_to_initializers(proto.graph)
    drop_constant_inputs(proto)
    proto.ir_version = max(proto.ir_version, FREE_INITIALIZERS)
    fold_batch_norms(proto.graph)
    plain_gemms(proto.graph)
    fold_arithmetic(proto.graph)
    return proto


def name_own_domain(proto: onnx.ModelProto) -> None:
    """Give a model that uses none of ONNX's own operators their version, because some will be added."""
    if not any(entry.domain in ("", "ai.onnx") for entry in proto.opset_import):
        proto.opset_import.append(onnx.helper.make_opsetid("", QDQ_OPSET))


def lower_opset(proto: onnx.ModelProto) -> None:
    """State the newest opset whose Q/DQ every runtime knows, if all nodes are the same in it.

    ONNX gives operators a new version for every new type, and runtimes follow years later.
    """
    nodes = [node for graph in graphs_of(proto.graph) for node in graph.node if is_default_domain(node)]
    for entry in proto.opset_import:
        newer = entry.domain in ("", "ai.onnx") and entry.version > QDQ_NEWEST_OPSET
        if newer and all(_is_known(node, QDQ_NEWEST_OPSET) for node in nodes):
            stated, entry.version = entry.version, QDQ_NEWEST_OPSET
            try:  # an operator may have had fewer types then
                onnx.shape_inference.infer_shapes(without_weights(proto), check_type=True, strict_mode=True)
            except Exception:  # noqa: BLE001  (whatever it says, the model stays as it was)
                entry.version = stated


def _is_known(node: onnx.NodeProto, opset: int) -> bool:
    """True if a node's operator has all inputs, outputs and attributes of the node in an opset."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        return False
    if node.op_type in NEW_MEANING:
        return False
    named = {own.name for own in node.attribute} <= set(schema.attributes)
    return named and len(node.input) <= schema.max_input and len(node.output) <= schema.max_output


def ensure_names(graph: onnx.GraphProto) -> None:
    """Give every node a unique name, because quantizers identify nodes by name."""
    taken = {node.name for node in graph.node}
    seen: set[str] = set()
    for number, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            node.name = unique_name(taken, f"{node.op_type}_{number}")
            taken.add(node.name)
        seen.add(node.name)


def drop_constant_inputs(proto: onnx.ModelProto) -> None:
    """Drop graph inputs that are initializers, which older exporters list as inputs.

    The user could feed a value for such an input in place of a changed weight, and FP16 conversion would skip it.
    """
    constants = {tensor.name for tensor in proto.graph.initializer}
    kept = [value for value in proto.graph.input if value.name not in constants]
    if len(kept) < len(proto.graph.input):
        del proto.graph.input[:]
        proto.graph.input.extend(kept)
        proto.ir_version = max(proto.ir_version, FREE_INITIALIZERS)


def constants_to_initializers(graph: onnx.GraphProto) -> None:
    """Replace Constant nodes that hold a tensor or numbers with initializers."""
    kept = []
    for node in graph.node:
        tensor = held_tensor(node)
        if tensor is None:
            kept.append(node)
            continue
        graph.initializer.append(tensor)
        graph.initializer[-1].name = node.output[0]
    del graph.node[:]
    graph.node.extend(kept)
