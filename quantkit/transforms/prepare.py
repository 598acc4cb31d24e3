"""Preparation for Q/DQ: a newer opset, constants as initializers, and arithmetic folded into the layers before it."""

from __future__ import annotations

import onnx

from quantkit.core.errors import TargetRefuses
from quantkit.graph.conversion import converted
from quantkit.graph.graph import held_tensor, unique_name
from quantkit.graph.model_file import ModelFile
from quantkit.transforms.folding import fold_arithmetic, fold_batch_norms, plain_gemms
from quantkit.transforms.opset import state_opset

QDQ_OPSET = 13  # the first opset with per-channel QuantizeLinear
QDQ_NEWEST_OPSET = 21  # whose Q/DQ every runtime knows
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
            proto = converted(proto, QDQ_OPSET)
        except Exception as error:
            raise TargetRefuses(
                f"{model.path} has opset {model.opset} and cannot be upgraded to {QDQ_OPSET} ({error}).",
                f"Export it with opset {QDQ_OPSET} or newer.",
            ) from error
    state_opset(proto, QDQ_NEWEST_OPSET)
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
