"""Makes a model that is hard to quantize out of an easy one of the same function, to try tuning on.

Some channels of bottlenecks' linear outputs are multiplied by 60, and the weights of all that read them divided by it.
One scale for the whole tensor then leaves the other channels a sixtieth of its levels. quantkit cannot equalize these
tensors, because no clamp lies between them and their readers.

python scripts/make_hard_model.py mobilenet_v2.onnx hard.onnx
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from quantkit.graph.graph import Graph, attribute

FACTOR, BLOCKS, SHARE, SEED = 60.0, 5, 0.1, 0


@dataclass(frozen=True)
class Block:
    """Tensors that residual sums join, so that their channels can only be scaled together.

    Attributes:
        tensors: The tensors, in the graph's order.
        makers: The Convs that compute them.
        readers: The nodes that read them: Convs, whose weights are divided, and the sums.
        channels: The number of channels.
    """

    tensors: tuple[str, ...]
    makers: tuple[str, ...]
    readers: tuple[str, ...]
    channels: int


def blocks_of(graph: Graph) -> list[Block]:
    """Return the blocks of a model whose Convs have constant weights, in the graph's order.

    A block that anything but a Conv of one group or another sum reads, such as a clamp or the user, is left out.
    """
    joined: dict[str, set[str]] = {}
    for node in graph.of_type("Conv", "Add"):
        names = {node.output[0]} | (set(node.input) if node.op_type == "Add" else set())
        for name in list(names):
            names |= joined.get(name, set())
        joined |= dict.fromkeys(names, names)
    order = [name for node in graph.nodes for name in node.output]
    found = []
    for tensors in {id(own): own for own in joined.values()}.values():
        block = _block(graph, sorted(tensors, key=order.index) if tensors <= set(order) else [])
        if block is not None:
            found.append(block)
    return sorted(found, key=lambda block: order.index(block.tensors[0]))


def _block(graph: Graph, tensors: list[str]) -> Block | None:
    makers = [node for name in tensors if (node := graph.producer(name)) is not None]
    readers = [user for name in tensors for user in graph.consumers(name)]
    if not readers or any(graph.must_keep(name) for name in tensors):
        return None
    convs = [node for node in makers if node.op_type == "Conv"]
    for node, position in readers:
        single = node.op_type == "Conv" and position == 0 and attribute(node, "group", 1) == 1
        if not single and node.op_type != "Add":
            return None
    weighted = (node for node in (*convs, *(user for user, _ in readers)) if node.op_type == "Conv")
    if any(node.input[1] not in graph.constants for node in weighted):
        return None
    channels = graph.constants[convs[0].input[1]].dims[0] if convs else 0
    names = dict.fromkeys(user.name for user, _ in readers)
    return Block(tuple(tensors), tuple(node.name for node in convs), tuple(names), channels) if channels > 1 else None


def harden(
    model: onnx.ModelProto, count: int = BLOCKS, factor: float = FACTOR, share: float = SHARE, seed: int = SEED
) -> list[Block]:
    """Scale channels of some blocks in place; those that fewest nodes read, so that each stands out by itself.

    Args:
        model: The model.
        count: The number of blocks.
        factor: What channels are multiplied by.
        share: The share of a block's channels that are scaled, at least one.
        seed: The seed of the choice of channels.

    Returns:
        The blocks that were scaled, in the graph's order.
    """
    graph, rng = Graph(model.graph), np.random.default_rng(seed)
    every = blocks_of(graph)
    chosen = sorted(sorted(every, key=lambda block: len(block.readers))[:count], key=every.index)
    if len(chosen) < count:
        raise SystemExit(f"The model has {len(chosen)} blocks that can be scaled, fewer than {count}.")
    nodes = {node.name: node for node in graph.nodes}
    for block in chosen:
        some = rng.choice(block.channels, max(1, round(share * block.channels)), replace=False)
        scale = np.ones(block.channels)
        scale[some] = factor
        for name in block.makers:
            for tensor in _constants(graph, nodes[name], (1, 2)):
                values = numpy_helper.to_array(tensor)
                _replace(tensor, values * scale.reshape(-1, *[1] * (values.ndim - 1)))
        for name in block.readers:
            if nodes[name].op_type == "Conv":
                for tensor in _constants(graph, nodes[name], (1,)):
                    values = numpy_helper.to_array(tensor)
                    _replace(tensor, values / scale.reshape(1, -1, *[1] * (values.ndim - 2)))
    return chosen


def _constants(graph: Graph, node: onnx.NodeProto, positions: tuple[int, ...]) -> Iterator[onnx.TensorProto]:
    for position in positions:
        if position < len(node.input) and node.input[position]:
            yield graph.constants[node.input[position]]


def _replace(tensor: onnx.TensorProto, values: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))


def main() -> None:
    """Write the model, and print what was scaled as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--blocks", type=int, default=BLOCKS)
    parser.add_argument("--factor", type=float, default=FACTOR)
    parser.add_argument("--share", type=float, default=SHARE, help="of a block's channels")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args()
    model = onnx.load(str(arguments.model))
    chosen = harden(model, arguments.blocks, arguments.factor, arguments.share, arguments.seed)
    onnx.save(model, str(arguments.output))
    print(json.dumps([{"tensors": own.tensors, "readers": own.readers} for own in chosen], indent=1))


if __name__ == "__main__":
    main()
