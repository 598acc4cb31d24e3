"""The parts of an output are the tensors that a Concat joined, wherever its values are moved afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from quantkit.graph.concatenated import MOST_PARTS, joined, labels
from quantkit.graph.graph import Graph
from tests.graphs.shapes import FLOAT, constant, model, node


def parts(nodes: Sequence[onnx.NodeProto], inputs: dict[str, list[int]], *inits: onnx.TensorProto) -> dict[str, bool]:
    """Whether each part of "y" is where the values of its tensor are: each input holds a number of its own."""
    proto = model(nodes, [(n, FLOAT, s) for n, s in inputs.items()], [("y", FLOAT, None)], inits)  # type: ignore[arg-type]
    origin = joined(Graph(proto.graph), "y")
    if origin is None:
        return {}
    wanted = sorted({*origin.tensors()} - {*inputs, "y"})
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {name: np.full(shape, number, np.float32) for number, (name, shape) in enumerate(inputs.items())}
    values = dict(zip(["y", *wanted], session.run(["y", *wanted], feed), strict=True)) | feed
    names, places = labels(origin, {name: array.shape for name, array in values.items()})
    assert places.shape == values["y"].shape
    return {
        name: bool((values["y"][places == number] == values[name].flat[0]).all()) for number, name in enumerate(names)
    }


BOXES, SCORES = [1, 4, 5, 6], [1, 3, 5, 6]


@pytest.mark.parametrize(
    "after",
    [
        [],
        [node("Identity", ["cat"], ["y"])],
        [node("Transpose", ["cat"], ["y"], perm=[0, 2, 3, 1])],
        [node("Reshape", ["cat", "flat"], ["y"])],
        [node("Reshape", ["cat", "flat"], ["f"]), node("Transpose", ["f"], ["y"], perm=[0, 2, 1])],
        [node("Flatten", ["cat"], ["y"])],
        [node("Unsqueeze", ["cat", "front"], ["y"])],
    ],
)
def test_boxes_and_scores_are_told_apart(after: list[onnx.NodeProto]) -> None:
    joining = node("Concat", ["boxes", "scores"], ["cat" if after else "y"], axis=1)
    inits = [constant("flat", [1, 7, 30], np.int64), constant("front", [0], np.int64)]
    assert parts([joining, *after], {"boxes": BOXES, "scores": SCORES}, *inits) == {"boxes": True, "scores": True}


def test_levels_and_kinds_are_parts_of_their_own() -> None:
    nodes = [
        node("Concat", ["b0", "s0"], ["l0"], axis=2),
        node("Reshape", ["l0", "rows"], ["r0"]),
        node("Concat", ["b1", "s1"], ["r1"], axis=2),
        node("Concat", ["r0", "r1"], ["y"], axis=1),
    ]
    shapes = {"b0": [1, 6, 4], "s0": [1, 6, 2], "b1": [1, 3, 4], "s1": [1, 3, 2]}
    found = parts(nodes, shapes, constant("rows", [1, -1, 6], np.int64))
    assert found == dict.fromkeys(shapes, True)


def test_what_computes_ends_the_search() -> None:
    nodes = [node("Concat", ["boxes", "scores"], ["cat"], axis=1), node("Sigmoid", ["cat"], ["y"])]
    assert parts(nodes, {"boxes": BOXES, "scores": SCORES}) == {}


def test_many_levels_are_joined_at_the_last_concat_only() -> None:
    count = MOST_PARTS
    nodes = [node("Concat", [f"b{i}", f"s{i}"], [f"l{i}"], axis=1) for i in range(count)]
    nodes.append(node("Concat", [f"l{i}" for i in range(count)], ["y"], axis=2))
    shapes = {f"{kind}{i}": [1, 2, 3] for i in range(count) for kind in "bs"}
    proto = model(nodes, [(n, FLOAT, s) for n, s in shapes.items()], [("y", FLOAT, None)])  # type: ignore[arg-type]
    origin = joined(Graph(proto.graph), "y")
    assert origin is not None
    assert list(origin.parts()) == [f"l{i}" for i in range(count)]
