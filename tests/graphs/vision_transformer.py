"""A small vision transformer with channels that stand out, as large ones have them."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH, HEADS = 32, 2
OUTLIERS = (3, 17)  # channels whose LayerNorm gain is 30 times that of the others


def transformer_model(blocks: int = 2, side: int = 16, unbound: bool = False) -> onnx.ModelProto:
    """Patches of 4×4 of an image of ``side`` × ``side``, ``blocks`` of attention and MLP, 3 classes.

    ``unbound`` computes queries, keys and values by one layer, and takes them apart as PyTorch's ``unbind`` does.
    """
    rng, tokens = np.random.default_rng(11), (side // 4) ** 2
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def constant(name: str, array: np.ndarray) -> str:
        weights.append(numpy_helper.from_array(array, name))
        return name

    def weight(name: str, *shape: int) -> str:
        return constant(name, (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32))

    def add(op: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=f"node_{output}", **attributes))
        return output

    def linear(x: str, name: str, rows: int, columns: int) -> str:
        product = add("MatMul", [x, weight(f"{name}.w", rows, columns)], f"{name}.product")
        return add("Add", [product, weight(f"{name}.b", columns)], name)

    def norm(x: str, name: str) -> str:
        gain = np.ones(WIDTH, np.float32)
        gain[list(OUTLIERS)] = 30.0
        shift = np.zeros(WIDTH, np.float32)
        return add("LayerNormalization", [x, constant(f"{name}.g", gain), constant(f"{name}.s", shift)], name, axis=-1)

    def heads(x: str, name: str, order: list[int]) -> str:
        shape = constant(f"{name}.shape", np.array([0, tokens, HEADS, WIDTH // HEADS], np.int64))
        return add("Transpose", [add("Reshape", [x, shape], f"{name}.split")], name, perm=order)

    def parts(x: str, name: str) -> list[str]:
        shape = constant(f"{name}.shape", np.array([0, tokens, 3, HEADS, WIDTH // HEADS], np.int64))
        first, ones = constant(f"{name}.first", np.zeros(1, np.int64)), constant(f"{name}.ones", np.ones(3, np.int64))
        stacked = add(
            "Transpose", [add("Reshape", [x, shape], f"{name}.five")], f"{name}.stacked", perm=[2, 0, 3, 1, 4]
        )
        cut = [f"{name}.{n}.cut" for n in "qkv"]
        nodes.append(helper.make_node("Split", [stacked, ones], cut, name=f"node_{name}.cut", axis=0))
        return [add("Squeeze", [part, first], part.removesuffix(".cut")) for part in cut]

    patches = add(
        "Conv", ["input", weight("patch.w", WIDTH, 3, 4, 4), weight("patch.b", WIDTH)], "patch", strides=[4, 4]
    )
    flat = add("Reshape", [patches, constant("flat.shape", np.array([0, WIDTH, tokens], np.int64))], "flat")
    x = add("Transpose", [flat], "tokens", perm=[0, 2, 1])
    scale = constant("scale", np.array((WIDTH // HEADS) ** -0.5, np.float32))
    merged = constant("merged.shape", np.array([0, tokens, WIDTH], np.int64))
    for b in range(blocks):
        normed = norm(x, f"b{b}.norm1")
        if unbound:
            q, k, v = parts(linear(normed, f"b{b}.qkv", WIDTH, 3 * WIDTH), f"b{b}")
            k = add("Transpose", [k], f"{k}.turned", perm=[0, 1, 3, 2])
        else:
            q, k, v = (linear(normed, f"b{b}.{n}", WIDTH, WIDTH) for n in "qkv")
            q, v = (heads(t, f"{t}.heads", [0, 2, 1, 3]) for t in (q, v))
            k = heads(k, f"{k}.heads", [0, 2, 3, 1])
        scores = add("Mul", [add("MatMul", [q, k], f"b{b}.qk"), scale], f"b{b}.scores")
        mixed = add("MatMul", [add("Softmax", [scores], f"b{b}.softmax", axis=-1), v], f"b{b}.mixed")
        joined = add("Reshape", [add("Transpose", [mixed], f"b{b}.back", perm=[0, 2, 1, 3]), merged], f"b{b}.joined")
        x = add("Add", [x, linear(joined, f"b{b}.out", WIDTH, WIDTH)], f"b{b}.residual1")
        hidden = linear(norm(x, f"b{b}.norm2"), f"b{b}.up", WIDTH, 2 * WIDTH)
        x = add(
            "Add", [x, linear(add("Relu", [hidden], f"b{b}.act"), f"b{b}.down", 2 * WIDTH, WIDTH)], f"b{b}.residual2"
        )
    pooled = add("ReduceMean", [norm(x, "norm")], "pooled", axes=[1], keepdims=0)
    linear(pooled, "logits", WIDTH, 3)
    graph = helper.make_graph(
        nodes,
        "transformer",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
