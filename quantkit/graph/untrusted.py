"""Refuses models that would hang, crash or mislead what reads them, whoever made them.

Every check takes time linear in the file. What onnxruntime reports clearly by itself, such as an unknown operator, is
left to it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.external_data_helper import uses_external_data

from quantkit.core.errors import BadModel
from quantkit.graph.graph import subgraphs

MOST_NODES = 1_000_000  # a hundred times those of the largest models
MOST_NESTED = 16  # graphs inside one another; exporters make three or four
LARGEST_INPUT = 1 << 34  # bytes of one input, with dynamic dimensions counted as 1
NO_INPUT_TYPES = {
    onnx.TensorProto.UNDEFINED,
    onnx.TensorProto.STRING,
    onnx.TensorProto.COMPLEX64,
    onnx.TensorProto.COMPLEX128,
}
# The inputs that hold weights. Elsewhere a constant may be infinite, as that of a mask.
WEIGHTS = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "BatchNormalization": (1, 2, 3, 4),
    "LSTM": (1, 2, 3),
    "GRU": (1, 2, 3),
    "RNN": (1, 2, 3),
}
AGAIN = "Export it to ONNX again."


def check_size(proto: onnx.ModelProto, path: Path) -> None:
    """Raise BadModel for a graph that has too many nodes, or too many graphs inside one another."""
    left = MOST_NODES
    waiting = [(proto.graph, 1)]
    while waiting:
        graph, depth = waiting.pop()
        left -= len(graph.node)
        if left < 0:
            raise BadModel(f"{path} has more than {MOST_NODES:,} nodes.", AGAIN)
        if depth > MOST_NESTED:
            raise BadModel(f"{path} has more than {MOST_NESTED} graphs inside one another.", AGAIN)
        waiting += [(inner, depth + 1) for node in graph.node for inner in subgraphs(node)]


def check_model(proto: onnx.ModelProto, path: Path, opset: int) -> None:
    """Check a model that was read without its external data.

    Args:
        proto: The model.
        path: The file, for error messages.
        opset: The version of ONNX's own operators.

    Raises:
        BadModel: A name is given twice or is no text, a node lacks what its operator needs, nodes form a cycle, a
            tensor's data does not fit its shape, or an input is of a type or size that cannot be fed.
    """
    for value in proto.graph.input:
        _check_input(value, {tensor.name for tensor in proto.graph.initializer}, path)
    functions = {(function.domain, function.name) for function in proto.functions}
    for graph in _graphs(proto.graph):
        _check_names(graph, path)
        for tensor in _constants(graph):
            _check_data(tensor, path)
        for node in graph.node:
            if (node.domain, node.op_type) not in functions:
                _check_node(node, path, opset)
        _check_order(graph, path)


def check_weights(proto: onnx.ModelProto, path: Path) -> None:
    """Raise BadModel for a weight that holds NaN or Inf. ``proto`` has its external data."""
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        for at in WEIGHTS.get(node.op_type, ()):
            tensor = tensors.get(node.input[at]) if at < len(node.input) else None
            if tensor is None:
                continue
            values = numpy_helper.to_array(tensor)
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                found = "NaN" if np.isnan(values).any() else "Inf"
                raise BadModel(
                    f"The weight {tensor.name!r} of {node.op_type} {node.name!r} in {path} holds {found}.",
                    "Export the model from a checkpoint that is whole.",
                )


def check_external(tensor: onnx.TensorProto, file: Path) -> None:
    """Raise BadModel unless a tensor's external data lies inside ``file``."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    try:
        offset, length = (int(entries.get(key) or 0) for key in ("offset", "length"))
    except ValueError as error:
        raise BadModel(f"The weight {tensor.name!r} has external data at no number ({error}).", AGAIN) from error
    if offset < 0 or length < 0 or offset + length > file.stat().st_size:
        raise BadModel(
            f"The weight {tensor.name!r} lies outside its file {file} (offset {offset}, length {length}).", AGAIN
        )


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from _graphs(inner)


def _constants(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t


def _check_input(value: onnx.ValueInfoProto, constants: set[str], path: Path) -> None:
    if not value.type.HasField("tensor_type"):
        if value.name in constants:
            return
        raise BadModel(f"The input {value.name!r} of {path} is no tensor.", "Export it with tensors as inputs.")
    tensor = value.type.tensor_type
    if tensor.elem_type in NO_INPUT_TYPES or tensor.elem_type not in onnx.TensorProto.DataType.values():
        known = tensor.elem_type in onnx.TensorProto.DataType.values()
        name = onnx.TensorProto.DataType.Name(tensor.elem_type) if known else f"number {tensor.elem_type}"
        raise BadModel(
            f"The input {value.name!r} of {path} is of type {name}, which cannot be fed.",
            "Export it with an input of numbers.",
        )
    sizes = [dimension.dim_value for dimension in tensor.shape.dim if dimension.dim_value > 0]
    needed = math.prod(sizes) * _bits(tensor.elem_type) // 8
    if needed > LARGEST_INPUT:
        raise BadModel(
            f"The input {value.name!r} of {path} takes {needed / 1e9:,.0f} GB, as its shape "
            f"{'x'.join(map(str, sizes))} says.",
            "Export it with its true shape.",
        )


def _check_names(graph: onnx.GraphProto, path: Path) -> None:
    """Each tensor has one producer: an input, an initializer (perhaps of an input's name), or a node."""
    sparse = [tensor.values.name for tensor in graph.sparse_initializer]
    made = [name for node in graph.node for name in node.output if name]
    given = {value.name for value in graph.input}
    constants = [tensor.name for tensor in graph.initializer] + sparse
    for kind, names in (
        ("input", [value.name for value in graph.input]),
        ("initializer", constants),
        ("tensor", [*made, *(given | set(constants))]),
    ):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise BadModel(f"{path} has two of the {kind} {twice[0]!r}.", AGAIN)
        nul = next((name for name in names if "\0" in name), None)
        if nul is not None:
            raise BadModel(f"{path} has a {kind} whose name holds a NUL: {nul!r}.", AGAIN)


def _check_data(tensor: onnx.TensorProto, path: Path) -> None:
    if tensor.data_type not in onnx.TensorProto.DataType.values() or not tensor.data_type:
        raise BadModel(f"The weight {tensor.name!r} of {path} is of the unknown type {tensor.data_type}.", AGAIN)
    if any(size < 0 for size in tensor.dims):
        raise BadModel(f"The weight {tensor.name!r} of {path} has shape {tuple(tensor.dims)}.", AGAIN)
    if uses_external_data(tensor) or tensor.data_type == onnx.TensorProto.STRING:
        return
    count = math.prod(tensor.dims)
    if tensor.HasField("raw_data"):
        wanted = math.ceil(count * _bits(tensor.data_type) / 8)
        if len(tensor.raw_data) != wanted:
            raise BadModel(
                f"The weight {tensor.name!r} of {path} has {len(tensor.raw_data)} bytes for shape "
                f"{tuple(tensor.dims)}, which takes {wanted}.",
                AGAIN,
            )
        return
    values = max(
        len(getattr(tensor, name)) for name in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
    )
    if values == 0 and count > 0:
        raise BadModel(f"The weight {tensor.name!r} of {path} has no data for shape {tuple(tensor.dims)}.", AGAIN)


def _check_node(node: onnx.NodeProto, path: Path, opset: int) -> None:
    called = f"{node.op_type or 'a node without operator'} {node.name!r}"
    if not node.op_type or not any(node.output):
        raise BadModel(f"The node {called} in {path} has no operator or no output.", AGAIN)
    schema = _schema(node.op_type, opset) if node.domain in ("", "ai.onnx") else None
    if schema is None:
        return
    lacking = [at for at in range(schema.min_input) if at >= len(node.input) or not node.input[at]]
    required = [at for at in lacking if at >= len(schema.inputs) or _is_needed(schema.inputs[at])]
    if required:
        at = required[0]
        name = schema.inputs[at].name if at < len(schema.inputs) else f"number {at + 1}"
        raise BadModel(f"The node {called} in {path} lacks its input {name!r}.", AGAIN)
    if len(node.input) > schema.max_input or not schema.min_output <= len(node.output) <= schema.max_output:
        raise BadModel(
            f"The node {called} in {path} has {len(node.input)} inputs and {len(node.output)} outputs, which its "
            "operator does not take.",
            AGAIN,
        )
    for attribute in node.attribute:
        known = schema.attributes.get(attribute.name)
        if known is not None and not attribute.ref_attr_name and int(known.type.value) != attribute.type:
            raise BadModel(f"The attribute {attribute.name!r} of {called} in {path} is of another type.", AGAIN)
    given = {attribute.name for attribute in node.attribute}
    missing = [name for name, attribute in schema.attributes.items() if attribute.required and name not in given]
    if missing:
        raise BadModel(f"The node {called} in {path} lacks its attribute {missing[0]!r}.", AGAIN)


def _is_needed(parameter: onnx.defs.OpSchema.FormalParameter) -> bool:
    return bool(parameter.option == onnx.defs.OpSchema.FormalParameterOption.Single)


def _check_order(graph: onnx.GraphProto, path: Path) -> None:
    """Raise BadModel if nodes wait for one another. Nodes may stand in any order."""
    producer = {name: at for at, node in enumerate(graph.node) for name in node.output if name}
    waits = [{producer[name] for name in _reads(node) if name in producer} for node in graph.node]
    followers: list[list[int]] = [[] for _ in waits]
    for at, before in enumerate(waits):
        for other in before:
            followers[other].append(at)
    open_ = [len(before) for before in waits]
    ready = [at for at, count in enumerate(open_) if count == 0]
    done = 0
    while ready:
        done += 1
        for follower in followers[ready.pop()]:
            open_[follower] -= 1
            if open_[follower] == 0:
                ready.append(follower)
    if done < len(waits):
        stuck = graph.node[next(at for at, count in enumerate(open_) if count)]
        raise BadModel(
            f"The nodes of {path} form a cycle, which {stuck.op_type} {stuck.name or stuck.output[0]!r} is part of "
            "or waits for.",
            AGAIN,
        )


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the names that a node reads, and those that the graphs inside it capture."""
    yield from node.input
    for inner in subgraphs(node):
        for graph in _graphs(inner):
            own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            own |= {name for each in graph.node for name in each.output}
            names: Sequence[str] = [name for each in graph.node for name in each.input]
            yield from (name for name in (*names, *(value.name for value in graph.output)) if name not in own)


@lru_cache(maxsize=1024)
def _schema(operator: str, opset: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(operator, opset, "")
    except onnx.defs.SchemaError:
        return None


def _bits(data_type: int) -> int:
    """Return the bits of one value, as the type's name says: FLOAT8E4M3FN has 8, UINT4 has 4."""
    name = onnx.TensorProto.DataType.Name(data_type)
    number = re.match(r"[A-Z]+(\d+)", name)
    return int(number[1]) if number else {"FLOAT": 32, "DOUBLE": 64}.get(name, 8)
