"""FP16, BF16 and FP64 models, computed in FP32.

Ranges are found, layers placed and weights rounded in FP32 alone. A model of another type is rewritten: every tensor
becomes FP32, and casts between float types disappear. Its inputs and outputs keep their types, with one Cast each. FP32
holds every FP16 and BF16 number, and INT8 needs no more digits than it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper, shape_inference

from quantkit.core.errors import BadModel
from quantkit.graph.graph import names_in, subgraphs, unique_name

OTHERS = {TensorProto.FLOAT16: "FP16", TensorProto.BFLOAT16: "BF16", TensorProto.DOUBLE: "FP64"}
TYPE_ATTRIBUTES = {"to", "dtype"}  # of Cast, RandomNormal, EyeLike, SequenceEmpty and others
LARGEST = float(np.finfo(np.float32).max)


def type_of_layers(graph: onnx.GraphProto, weighted: frozenset[str], inferred: onnx.ModelProto | None) -> str:
    """Return the name of the float type that a weighted layer computes in, if it is not FP32; else an empty string.

    Args:
        graph: The graph.
        weighted: The operators to look at.
        inferred: The model with inferred types; None looks at weights and declared types alone.
    """
    view = graph if inferred is None else inferred.graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*view.input, *view.value_info, *view.output)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        for name in node.input[:2] if node.op_type in weighted else ():
            if types.get(name) in OTHERS:
                return OTHERS[types[name]]
        for inner in subgraphs(node):
            found = type_of_layers(inner, weighted, None)
            if found:
                return found
    return ""


def has_other_types(graph: onnx.GraphProto) -> bool:
    """True if a constant, input, output or cast of the graph, or of a graph inside it, is FP16, BF16 or FP64."""
    ports = (value.type.tensor_type.elem_type for value in (*graph.input, *graph.output))
    if any(own in OTHERS for own in ports) or any(tensor.data_type in OTHERS for tensor in graph.initializer):
        return True
    for node in graph.node:
        for own in node.attribute:
            if (own.name in TYPE_ATTRIBUTES and own.i in OTHERS) or (own.HasField("t") and own.t.data_type in OTHERS):
                return True
        if any(map(has_other_types, subgraphs(node))):
            return True
    return False


def infer_types(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """Return a model with the types that can be inferred; None if inference fails."""
    try:
        return shape_inference.infer_shapes(model)
    except Exception:  # noqa: BLE001  (a model that runs may still upset shape inference)
        return None


def widen(model: onnx.ModelProto) -> None:
    """Make a model compute in FP32; inputs and outputs keep their types.

    Args:
        model: The model, with all weights; it is edited.

    Raises:
        BadModel: A constant is beyond FP32.
    """
    graph = model.graph
    inputs = [_copy(value) for value in graph.input if value.name not in {tensor.name for tensor in graph.initializer}]
    outputs = [_copy(value) for value in graph.output]
    _widen(graph)
    names = names_in(graph)
    first = [cast for value in inputs for cast in _cast_input(graph, value, names)]
    last = [cast for value in outputs for cast in _cast_output(graph, value, names)]
    nodes = [_copy_node(node) for node in (*first, *graph.node, *last)]
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_casts(model)


def _widen(graph: onnx.GraphProto) -> None:
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for value in (*graph.input, *graph.output, *graph.value_info):
        _widen_value(value)
    for node in graph.node:
        for own in node.attribute:
            if own.name in TYPE_ATTRIBUTES and own.i in OTHERS:
                own.i = TensorProto.FLOAT
            if own.HasField("t"):
                _widen_tensor(own.t)
        for inner in subgraphs(node):
            _widen(inner)


def _widen_value(value: onnx.ValueInfoProto) -> None:
    for own in _tensor_types(value.type):
        if own.elem_type in OTHERS:
            own.elem_type = TensorProto.FLOAT


def _tensor_types(own: onnx.TypeProto) -> Iterator[onnx.TypeProto.Tensor]:
    if own.HasField("tensor_type"):
        yield own.tensor_type
    elif own.HasField("sequence_type"):
        yield from _tensor_types(own.sequence_type.elem_type)
    elif own.HasField("optional_type"):
        yield from _tensor_types(own.optional_type.elem_type)


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type not in OTHERS:
        return
    values = numpy_helper.to_array(tensor).astype(np.float64)
    if tensor.data_type == TensorProto.DOUBLE:
        # The ends of the type stand for infinity, as in masks.
        ends = np.abs(values) == np.finfo(np.float64).max
        values = np.where(ends, np.sign(values) * LARGEST, values)
        if (np.abs(values[np.isfinite(values)]) > LARGEST).any():
            raise BadModel(
                f"The FP64 constant {tensor.name!r} is beyond FP32.",
                "Export the model in FP32, and check that it runs.",
            )
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(values, np.float32), tensor.name))


def _cast_input(graph: onnx.GraphProto, value: onnx.ValueInfoProto, names: set[str]) -> list[onnx.NodeProto]:
    """Give an input its own type again, with a Cast behind it."""
    if value.type.tensor_type.elem_type not in OTHERS:
        return []
    inside = _set_apart(graph, graph.input, value, names)
    return [onnx.helper.make_node("Cast", [value.name], [inside], name=f"{inside}_cast", to=TensorProto.FLOAT)]


def _cast_output(graph: onnx.GraphProto, value: onnx.ValueInfoProto, names: set[str]) -> list[onnx.NodeProto]:
    """Give an output its own type again, with a Cast before it."""
    if value.type.tensor_type.elem_type not in OTHERS or value.name in {port.name for port in graph.input}:
        return []
    inside = _set_apart(graph, graph.output, value, names)
    for node in graph.node:
        node.output[:] = [inside if name == value.name else name for name in node.output]
    for tensor in graph.initializer:
        if tensor.name == value.name:
            tensor.name = inside
    to = value.type.tensor_type.elem_type
    return [onnx.helper.make_node("Cast", [inside], [value.name], name=f"{inside}_cast", to=to)]


def _set_apart(
    graph: onnx.GraphProto, ports: Iterable[onnx.ValueInfoProto], value: onnx.ValueInfoProto, names: set[str]
) -> str:
    """Give a port its own type again, and return the name by which nodes now read the tensor in FP32."""
    next(port for port in ports if port.name == value.name).CopyFrom(value)
    inside = unique_name(names, f"{value.name}_as_float")
    names.add(inside)
    for node in graph.node:
        _rename_reads(node, {value.name: inside})
    return inside


def _rename_reads(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Rename tensors where a node or a graph inside it reads them."""
    node.input[:] = [names.get(name, name) for name in node.input]
    for graph in subgraphs(node):
        own = {value.name for value in (*graph.input, *graph.initializer)}
        own |= {name for inner in graph.node for name in inner.output}
        outside = {old: new for old, new in names.items() if old not in own}
        for inner in graph.node:
            _rename_reads(inner, outside)
        for value in graph.output:
            value.name = outside.get(value.name, value.name)


def _drop_casts(model: onnx.ModelProto) -> None:
    """Remove the casts from FP32 to FP32 that are left, as far as types can be inferred."""
    graph = model.graph
    inferred = infer_types(model)
    known = graph if inferred is None else inferred.graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*known.input, *known.value_info, *known.output)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    sources: dict[str, str] = {}
    kept = []
    for node in graph.node:
        to_float = any(own.name == "to" and own.i == TensorProto.FLOAT for own in node.attribute)
        needless = node.op_type == "Cast" and to_float and types.get(node.input[0]) == TensorProto.FLOAT
        if needless and node.output[0] not in outputs:
            sources[node.output[0]] = sources.get(node.input[0], node.input[0])
            continue
        _rename_reads(node, sources)
        kept.append(_copy_node(node))
    del graph.node[:]
    graph.node.extend(kept)


def _copy(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    return onnx.ValueInfoProto.FromString(value.SerializeToString())


def _copy_node(node: onnx.NodeProto) -> onnx.NodeProto:
    return onnx.NodeProto.FromString(node.SerializeToString())
