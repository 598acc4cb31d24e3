"""Constants that a model computes: a weight behind Identity, Cast, Transpose, DequantizeLinear or arithmetic.

Exporters leave such nodes where they deduplicate weights, store them in another type, or fuse scales into them. A layer
whose weight is computed has no weight that can be rounded, so what depends on constants alone is computed here, once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from quantkit.graph.graph import captured_names, held_tensor, names_in, subgraphs, unique_name, values_of

LARGEST_GROWN = 1 << 24  # the most values of a constant that is larger than what it is computed from
RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}

Values = npt.NDArray[Any]


def foldable(graph: onnx.GraphProto) -> dict[str, onnx.NodeProto]:
    """Return the tensors that depend on constants alone, without the constants, each with its producer."""
    known = {tensor.name for tensor in graph.initializer} - {value.name for value in graph.input}
    found: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        if node.op_type == "Constant":
            known.update(node.output if held_tensor(node) is not None else ())
        elif _is_fixed(node) and all(name in known for name in node.input if name):
            known.update(filter(None, node.output))
            found |= {name: node for name in node.output if name}
    return found


def fold_constants(model: onnx.ModelProto) -> int:
    """Replace float tensors that depend on constants alone, and that a layer reads, by initializers of the same names.

    Graph outputs stay computed. So does what neither onnxruntime nor ONNX's reference evaluator can compute, and
    what would grow the model beyond reason. Integers, such as shapes, are left to the runtimes.

    Args:
        model: The model, sorted and with all weights; it is edited.

    Returns:
        The number of replaced tensors.
    """
    graph = model.graph
    fixed = foldable(graph)
    inside = {id(node) for node in fixed.values()}
    read = {name for node in graph.node if id(node) not in inside for name in (*node.input, *captured_names(node))}
    wanted = [name for name in fixed if name in read and name not in {value.name for value in graph.output}]
    evaluated = _Evaluated(model, fixed)
    folded: dict[str, Values] = {}
    for name in wanted:
        values = evaluated.values(name)
        if values is not None and values.dtype.kind == "f":
            folded[name] = values
    if not folded:
        return 0
    graph.initializer.extend(numpy_helper.from_array(np.ascontiguousarray(v), name) for name, v in folded.items())
    _drop_producers(graph, folded, inside)
    return len(folded)


def computed_weights(graph: onnx.GraphProto, weighted: frozenset[str]) -> bool:
    """True if a layer reads a weight that depends on constants alone, so that :func:`fold_constants` has work."""
    fixed = foldable(graph)
    inside = {id(node) for node in fixed.values()}
    return any(
        name in fixed
        for node in graph.node
        if id(node) not in inside and (node.op_type in weighted or node.op_type == "BatchNormalization")
        for name in node.input
    )


class _Evaluated:
    """Computes tensors node by node, so that one operator that cannot be computed does not stand in others' way."""

    def __init__(self, model: onnx.ModelProto, producers: Mapping[str, onnx.NodeProto]) -> None:
        self._model, self._producers = model, producers
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            held = held_tensor(node)
            if held is not None:
                self._constants[node.output[0]] = held
        self._known: dict[str, Values | None] = {}

    def values(self, name: str) -> Values | None:
        """Return the values of a tensor; None if they cannot be computed."""
        for node in self._needed(name):
            self._run(node)
        return self._get(name)

    def _needed(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes to run for a tensor, in order."""
        order: dict[int, onnx.NodeProto] = {}
        stack = [(name, False)]
        while stack:
            tensor, ready = stack.pop()
            node = self._producers.get(tensor)
            if node is None or tensor in self._known or id(node) in order:
                continue
            if ready:
                order[id(node)] = node
            else:
                stack += [(tensor, True), *((own, False) for own in node.input if own)]
        return list(order.values())

    def _get(self, name: str) -> Values | None:
        if name not in self._known:
            tensor = self._constants.get(name)
            self._known[name] = None if tensor is None else values_of(tensor, name)
        return self._known[name]

    def _run(self, node: onnx.NodeProto) -> None:
        feeds = {name: self._get(name) for name in node.input if name}
        self._known |= dict.fromkeys(filter(None, node.output))
        given = {name: own for name, own in feeds.items() if own is not None}
        if len(given) < len(feeds) or _grows(node, given):
            return
        outputs = [name for name in node.output if name]
        one = onnx.helper.make_graph(
            [node],
            "constant",
            [_port(name, own) for name, own in given.items()],
            [onnx.ValueInfoProto(name=name) for name in outputs],
        )
        alone = onnx.helper.make_model(one, opset_imports=list(self._model.opset_import))
        alone.ir_version = self._model.ir_version
        results = _computed(alone, given)
        if results is not None:
            self._known |= {name: np.asarray(own) for name, own in zip(outputs, results, strict=True)}


def _port(name: str, values: Values) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
    return onnx.helper.make_tensor_value_info(name, kind, values.shape)


def _computed(model: onnx.ModelProto, feeds: Mapping[str, Values]) -> list[Any] | None:
    """Run a model in onnxruntime, or else in ONNX's reference evaluator; None if neither can."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        found: list[Any] = session.run(None, dict(feeds))
        return found
    except Exception:  # noqa: BLE001  (types that onnxruntime has no kernel for, such as FP64 in a Conv)
        pass
    try:
        return list(ReferenceEvaluator(model).run(None, dict(feeds)))
    except Exception:  # noqa: BLE001  (the evaluator raises anything at all; the node stays, and the runtime has it)
        return None


def _is_fixed(node: onnx.NodeProto) -> bool:
    """True if a node is ONNX's own and gives the same result every time."""
    has_graph = next(subgraphs(node), None) is not None
    return node.domain in ("", "ai.onnx") and node.op_type not in RANDOM and not has_graph


def _grows(node: onnx.NodeProto, given: Mapping[str, Values]) -> bool:
    """True if a node makes a constant that is large, and much larger than what it is made from."""
    size = sum(own.size for own in given.values())
    return any(count > max(LARGEST_GROWN, 2 * size) for count in _sizes(node, given))


def _sizes(node: onnx.NodeProto, given: Mapping[str, Values]) -> Iterator[float]:
    """Yield the number of values that a node makes out of a shape or of repeats."""
    shapes = [given[name] for name in node.input if name in given]
    if node.op_type == "ConstantOfShape" and shapes:
        yield math.prod(map(float, shapes[0].reshape(-1)))
    elif node.op_type == "Expand" and len(shapes) == 2:
        yield math.prod(map(float, np.maximum(shapes[1].reshape(-1), 1))) * max(shapes[0].size, 1)
    elif node.op_type == "Tile" and len(shapes) == 2:
        yield math.prod(map(float, shapes[1].reshape(-1))) * shapes[0].size


def _drop_producers(graph: onnx.GraphProto, folded: Mapping[str, Values], inside: set[int]) -> None:
    """Remove the nodes among ``inside`` whose results nothing reads any more.

    The result of a node that stays because of another result gets another name, which nothing reads.
    """
    read = {value.name for value in graph.output}
    names = names_in(graph)
    kept = []
    for node in reversed(graph.node):
        others = [name for name in node.output if name and name not in folded]
        if id(node) in inside and not any(name in read for name in others):
            continue
        for position, name in enumerate(node.output):
            if name in folded:
                node.output[position] = unique_name(names, f"{name}_computed")
        kept.append(node)
        read |= {*node.input, *captured_names(node)}
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
    del graph.node[:]
    graph.node.extend(nodes)
