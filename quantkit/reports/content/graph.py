"""The network as the report draws it: layers, how they are joined, and what to colour them by."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from quantkit.core.artifact import Artifact
from quantkit.core.comparison import Comparison, Row
from quantkit.core.decibels import NOT_FINITE_DB
from quantkit.core.sensitivity import Sensitivity
from quantkit.graph.graph import Graph
from quantkit.graph.operators import WEIGHTED
from quantkit.reports import wording
from quantkit.reports.content.layer_errors import LayerEntry, Series

MOST = 250  # layers that are drawn one by one; of more, blocks are drawn, which open
LEAST_BLOCKS = 8  # with fewer, names say too little of how a network is built
# What is drawn with the layer that it follows: activations, and what only moves or scales values.
FOLDED = frozenset(
    {"Relu", "Clip", "LeakyRelu", "PRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Selu", "Gelu", "Mish"}
    | {"Softplus", "BatchNormalization", "Identity", "Dropout", "Cast", "Flatten", "Reshape", "Squeeze", "Unsqueeze"}
    | {"Transpose"}
)
SHAPES = ("Shape", "Size")  # where what becomes of them is not drawn, either
KINDS = {"int8": "INT8", "f16": "FP16", "fp16": "FP16", "f32": "FP32", "fp32": "FP32", "tf32": "FP32"}


@dataclass(frozen=True)
class Layer:
    """A layer as it is drawn: a node of the model with what is folded into it, or an input.

    Attributes:
        name: The name of its first node, or of the input.
        kind: Its operators.
        shape: The shape of its output, as text; empty if it is not known.
        nodes: The names of its nodes.
        tensors: What its nodes put out, in their order.
        weighted: True if it has a weight.
    """

    name: str
    kind: str
    shape: str
    nodes: tuple[str, ...]
    tensors: tuple[str, ...]
    weighted: bool


@dataclass(frozen=True)
class Network:
    """A model's layers in its order, and the pairs of their numbers of which one reads what the other puts out."""

    layers: tuple[Layer, ...]
    edges: tuple[tuple[int, int], ...]


def network_of(model: onnx.ModelProto) -> Network:
    """Return the layers of a model, which may lack the data of its weights."""
    graph = Graph(model.graph)
    shapes = _shapes(model)
    layers: list[list[onnx.NodeProto]] = []
    place: dict[str, int] = {}  # of each tensor: the number of its layer
    inputs = list(graph.inputs)
    place.update({name: number for number, name in enumerate(inputs)})
    edges: dict[tuple[int, int], None] = {}
    captures: dict[int, list[str]] = defaultdict(list)
    for name, holders in graph.captured.items():
        for holder in holders:
            captures[id(holder)].append(name)
    for node in graph.nodes:
        outputs = [name for name in node.output if name]
        read = [name for name in (*node.input, *captures[id(node)]) if name in place]
        if not read or node.op_type in SHAPES:
            continue  # it computes a constant, or a shape
        before = place[read[0]] - len(inputs) if len(read) == 1 else -1
        alone = before >= 0 and len(layers[before][-1].output) == 1 and graph.only_consumer(read[0]) is node
        if node.op_type in FOLDED and alone:
            layers[before].append(node)
            number = before + len(inputs)
        else:
            layers.append([node])
            number = len(layers) - 1 + len(inputs)
            edges.update(dict.fromkeys((place[name], number) for name in read))
        place.update(dict.fromkeys(outputs, number))
    found = [Layer(name, "Input", shapes.get(name, ""), (), (name,), False) for name in inputs]
    found += [_layer(own, graph, shapes) for own in layers]
    return Network(tuple(found), tuple(edges))


def _layer(nodes: Sequence[onnx.NodeProto], graph: Graph, shapes: dict[str, str]) -> Layer:
    first = nodes[0]
    tensors = tuple(name for node in nodes for name in node.output if name)
    weighted = first.op_type in WEIGHTED and any(name in graph.constants for name in first.input[1:])
    names = tuple(node.name or next(iter(node.output), "") for node in nodes)
    kinds = " + ".join(dict.fromkeys(node.op_type for node in nodes))
    return Layer(names[0], kinds, shapes.get(tensors[-1], "") if tensors else "", names, tensors, weighted)


def _shapes(model: onnx.ModelProto) -> dict[str, str]:
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # noqa: BLE001 - any error of the library: shapes are an extra
        graph = model.graph
    return {
        value.name: " × ".join(
            str(axis.dim_param or axis.dim_value or "?") for axis in value.type.tensor_type.shape.dim
        )
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def network_json(
    network: Network,
    entries: Sequence[LayerEntry],
    series: Sequence[Series],
    comparison: Comparison | None,
    sensitivity: Sensitivity | None,
    artifacts: Iterable[Artifact],
) -> dict[str, Any]:
    """Return what the page's script draws.

    Args:
        network: The layers.
        entries: The page's list of tensors; a layer refers to its own by number.
        series: The layer errors of each INT8 row.
        comparison: The comparison, whose rows may have layer times.
        sensitivity: What each layer loses by itself, if it was measured.
        artifacts: The run's artifacts, which say what is in INT8.

    Returns:
        ``layers`` (name, kind, shape, number in ``entries`` or -1), ``edges``, ``blocks`` (title, layers) if there are
        too many layers, and ``colours``: title, kind ("low" if low values are bad, "high", or "class"), unit, and a
        value for each layer: a number, a word, or None.
    """
    numbers = {entry.tensor: number for number, entry in enumerate(entries)}
    with_chart = {e.tensor for e in entries if e.calibrated is not None and e.calibrated.chart is not None}
    colours = [*_errors(network, series), *_losses(network, sensitivity)]
    if comparison is not None:
        timed = [row for row in comparison.rows if row.layers]
        colours += [found for row in timed if (found := _times(network, row, timed))]
        colours += [found for row in timed if row.precision == "int8" and (found := _computed(network, row, timed))]
    colours += [_planned(network, one) for one in artifacts if one.layers is not None]

    def entry_of(layer: Layer) -> int:
        known = [name for name in reversed(layer.tensors) if name in numbers]
        return numbers[next((name for name in known if name in with_chart), known[0])] if known else -1

    return {
        "layers": [[own.name, own.kind, own.shape, entry_of(own)] for own in network.layers],
        "edges": [list(edge) for edge in network.edges],
        "blocks": blocks_of([own.name for own in network.layers]) if len(network.layers) > MOST else [],
        "colours": colours,
    }


def blocks_of(names: Sequence[str], most: int = MOST) -> list[list[Any]]:
    """Divide layers into blocks, by the beginnings of their names, or by their order where names tell nothing.

    Args:
        names: The names of the layers, in the model's order.
        most: The most blocks.

    Returns:
        The title of each block and the numbers of its layers; each layer is in one.
    """
    parts = [[part for part in re.split(r"[/.]", name) if part] for name in names]
    for depth in range(max(map(len, parts), default=0), 0, -1):
        found: dict[str, list[int]] = {}
        for number, own in enumerate(parts):
            found.setdefault("/".join(own[:depth]), []).append(number)
        if LEAST_BLOCKS <= len(found) <= most:
            return [[title, own] for title, own in found.items()]
    size = math.ceil(len(names) / min(most, 100))
    chunks = [list(range(start, min(start + size, len(names)))) for start in range(0, len(names), size)]
    return [[f"layers {own[0] + 1} to {own[-1] + 1}", own] for own in chunks]


def _errors(network: Network, series: Sequence[Series]) -> list[dict[str, Any]]:
    found = []
    for one in series:
        known = {error.tensor: error.sqnr_db for error in one.row.layer_errors}
        values = [
            next((_decibels(known[t]) for t in reversed(own.tensors) if t in known), None) for own in network.layers
        ]
        found.append(_colour(f"SQNR on {one.label}", "low", "dB", values))
    return found


def _losses(network: Network, sensitivity: Sensitivity | None) -> list[dict[str, Any]]:
    if sensitivity is None:
        return []
    known = {layer.tensor: layer.only.sqnr_db for layer in sensitivity.layers}
    return [_colour("Sensitivity: SQNR of the outputs if only it is INT8", "low", "dB", _known(network, known))]


def _known(network: Network, sqnr_db: Mapping[str, float | None]) -> list[float | str | None]:
    """Return the SQNR of each layer's last tensor that has one; None for a layer without."""
    own = (next((t for t in reversed(layer.tensors) if t in sqnr_db), None) for layer in network.layers)
    return [None if tensor is None else _decibels(sqnr_db[tensor]) for tensor in own]


def _decibels(sqnr_db: float | None) -> float | str:
    if sqnr_db is None or sqnr_db <= NOT_FINITE_DB:
        return wording.sqnr(sqnr_db)
    return round(sqnr_db, 2)


def _matched(network: Network, row: Row) -> dict[int, list[tuple[float, str]]]:
    """Return the time and the precision of a runtime's layers by the number of the layer that their name speaks of."""
    places = {name: number for number, own in enumerate(network.layers) for name in (*own.nodes, *own.tensors)}
    found: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for layer in row.layers:
        number = next((places[part] for part in layer.name.split(" + ") if part in places), None)
        if number is not None:
            found[number].append((layer.ms, layer.precision))
    return found


def _times(network: Network, row: Row, timed: Sequence[Row]) -> dict[str, Any] | None:
    found = _matched(network, row)
    values = [round(sum(ms for ms, _ in found[n]), 5) if n in found else None for n in range(len(network.layers))]
    return _colour(f"Time: {wording.row_name(row, timed)}", "high", "ms", values) if found else None


def _computed(network: Network, row: Row, timed: Sequence[Row]) -> dict[str, Any] | None:
    found = {number: max(own)[1] for number, own in _matched(network, row).items()}
    values = [KINDS.get(found[n], found[n] or None) if n in found else None for n in range(len(network.layers))]
    named = f"Precision as computed: {wording.row_name(row, timed)}"
    return _colour(named, "class", "", values) if any(values) else None


def _planned(network: Network, artifact: Artifact) -> dict[str, Any]:
    left = artifact.layers.left if artifact.layers else {}
    values = [
        ("floating point" if any(name in left for name in own.nodes) else "INT8") if own.weighted else None
        for own in network.layers
    ]
    made = f" {artifact.variant}" if artifact.variant else ""
    return _colour(f"Precision of weighted layers: {artifact.target} INT8{made}", "class", "", values)


def _colour(title: str, kind: str, unit: str, values: Sequence[float | str | None]) -> dict[str, Any]:
    return {"title": title, "kind": kind, "unit": unit, "values": list(values)}
