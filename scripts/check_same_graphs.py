"""Small models that together touch every placement rule, for check_same.py; the same bytes for the same seed.

Each function of GRAPHS builds one. Its docstring says what it touches; the numbers are those of the rules in
quantkit's module for TensorRT's Q/DQ, "OpenVINO n" those of its module for OpenVINO's.

    python scripts/check_same_graphs.py FOLDER    # writes them all: <name>.onnx, and <name>.npz with the inputs
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from check_same_builder import FLOAT, HALF, Builder
from onnx import TensorProto, helper

IMAGE = (3, 16, 16)


def plain(b: Builder) -> None:
    """Conv with BatchNormalization and ReLU, MaxPool, Gemm of 16 rows and more and of fewer (rules 1, 3, 4, 7)."""
    x = b.node("Relu", b.norm(b.conv(b.input("x", *IMAGE), 3, 16, bias=False), 16))
    x = b.node("MaxPool", b.conv_relu(x, 16, 24), kernel_shape=[2, 2], strides=[2, 2])
    x = b.node("Relu", b.norm(b.conv(x, 24, 32), 32))
    x = b.node("Flatten", b.node("GlobalAveragePool", x))
    x = b.node("Relu", b.gemm(x, 32, 16, transposed=False))
    b.output(b.gemm(b.node("Relu", b.gemm(x, 16, 16)), 16, 10))


def residual(b: Builder) -> None:
    """Residual sums: skip straight, skip by a Conv, a sum of two Convs, each with a ReLU behind (rule 2)."""
    x = b.conv_relu(b.input("x", *IMAGE), 3, 16)
    x = b.node("Relu", b.node("Add", b.conv(b.conv_relu(x, 16, 16), 16, 16), x))
    straight = b.conv(b.conv_relu(x, 16, 32, strides=[2, 2]), 32, 32)
    x = b.node("Relu", b.node("Add", straight, b.conv(x, 16, 32, 1, strides=[2, 2])))
    x = b.node("Relu", b.node("Add", x, b.conv(b.conv_relu(x, 32, 32, 1), 32, 32, 1)))
    b.head(x, 32)


def chains(b: Builder) -> None:
    """Sums in a chain, none with a Conv in front, the last also taken by a Sigmoid; activations as a detector's."""
    x = b.conv_relu(b.input("x", *IMAGE), 3, 16)
    for _ in range(3):
        inner = b.conv(b.conv_relu(x, 16, 16, 1), 16, 16)
        x = b.node("Add", x, b.node("Mul", inner, b.node("Sigmoid", inner)))
    y = b.conv_relu(b.node("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4), 16, 16)
    z = b.node("Add", y, x)
    b.head(b.node("Mul", b.conv(z, 16, 16), b.node("Sigmoid", z)), 16)


def mobile(b: Builder) -> None:
    """ReLU6, depthwise and grouped Conv, linear bottlenecks; channels worth equalizing (zero-points folded)."""
    x = b.clip(b.conv(b.input("x", *IMAGE), 3, 16, strides=[2, 2]))
    for given in (16, 24):
        wide = b.clip(b.conv(x, given, 48, 1))
        wide = b.clip(b.conv(wide, 48, 48, group=48))
        narrow = b.conv(wide, 48, 24, 1)
        x = b.node("Add", x, narrow) if given == 24 else narrow
    x = b.clip(b.conv(x, 24, 32, 1))
    x = b.node("Relu", b.conv(x, 32, 32, group=4))
    x = b.clip(b.conv(x, 32, 32, 1), -1, 1)
    b.head(b.clip(b.conv(x, 32, 64, 1), 0, 0.5), 64)


def upward(b: Builder) -> None:
    """ConvTranspose, grouped too; Resize nearest and linear; Concat with a skip (rule 6); batch 1."""
    skip = b.conv_relu(b.input("x", *IMAGE, batch=1), 3, 16)
    x = b.conv_relu(skip, 16, 32, strides=[2, 2])
    x = b.node("Relu", b.node("ConvTranspose", x, b.weight(32, 16, 2, 2, axis=1), b.vector(16), strides=[2, 2]))
    x = b.conv_relu(b.node("Concat", x, skip, axis=1), 32, 32, strides=[2, 2])
    x = b.node("ConvTranspose", x, b.weight(32, 8, 3, 3, axis=1), group=2, pads=[1] * 4)
    scales = b.constant([1, 1, 2, 2])
    near = b.node("Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric")
    smooth = b.node("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
    x = b.node("Add", b.conv_relu(near, 16, 16), b.conv_relu(smooth, 16, 16))
    b.output(b.conv(x, 16, 4, 1), 4, batch=1)


def inception(b: Builder) -> None:
    """Concats in front of Convs, one of the other's output, one of outputs; average and max pools (rules 4, 6)."""
    x = b.conv_relu(b.input("x", *IMAGE), 3, 16)
    average = b.node("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)
    highest = b.node("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4)
    both = b.node("Concat", b.conv_relu(x, 16, 16, 1), b.conv_relu(average, 16, 16, 1), axis=1)
    x = b.node("Concat", both, b.conv_relu(highest, 16, 16, 1), axis=1)
    x = b.conv_relu(x, 48, 32)
    x = b.conv_relu(b.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), 32, 32)
    first, second = b.nodes_of("Split", [x], 2, axis=1)
    x = b.node("Concat", b.conv_relu(first, 16, 16), second, axis=1)
    b.output(b.node("Concat", b.conv(x, 32, 4, 1), b.node("Sigmoid", b.conv(x, 32, 2, 1)), axis=1), 4)


def pools(b: Builder) -> None:
    """Pools beside layers in floating point, a pool of a pool, a global maximum, one-pixel Convs, moved values."""
    x = b.node("LeakyRelu", b.conv(b.input("x", *IMAGE), 3, 16), alpha=0.1)
    x = b.node("MaxPool", b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), kernel_shape=[1, 1])
    x = b.node("Transpose", b.node("Transpose", b.conv_relu(x, 16, 16), perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2])
    y = b.conv_relu(x, 16, 16)
    tall = b.node("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])
    soft = b.node("Softmax", tall, axis=1)
    maximum = b.conv_relu(b.node("GlobalMaxPool", y), 16, 16, 1)
    x = b.node("Mul", b.conv(soft, 16, 16), maximum)
    b.head(b.conv_relu(b.node("Pad", x, b.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)), 16, 32), 32)


def gates(b: Builder) -> None:
    """Squeeze and excitation before a Conv and before a sum, behind a depthwise Conv and a Swish (rule 8)."""
    x = b.conv_relu(b.input("x", *IMAGE), 3, 16)
    for last in ("Sigmoid", "HardSigmoid"):
        wide = b.conv(b.conv_relu(x, 16, 32, 1), 32, 32, group=32)
        wide = b.node("Mul", wide, b.node("Sigmoid", wide))
        squeezed = b.conv_relu(b.node("GlobalAveragePool", wide), 32, 8, 1)
        gate = b.node(last, b.conv(squeezed, 8, 32, 1))
        x = b.conv(b.node("Mul", wide, gate), 32, 16, 1)
    inner = b.conv(x, 16, 16)
    means = b.node("ReduceMean", inner, axes=[2, 3])
    gate = b.node("Sigmoid", b.conv(b.conv_relu(means, 16, 16, 1), 16, 16, 1))
    b.head(b.node("Relu", b.node("Add", b.node("Mul", inner, gate), x)), 16)


def products(b: Builder) -> None:
    """Gemm and MatMul with 15, 16 and 17 rows or columns, with and without transB, bias, alpha and beta (rule 7)."""
    x = b.node("Relu", b.gemm(b.input("x", 24), 24, 16, transposed=False))
    x = b.node("Relu", b.gemm(x, 16, 17, bias=False))
    x = b.node("Relu", b.gemm(x, 17, 15))
    x = b.node("Relu", b.gemm(x, 15, 32, transposed=False))
    x = b.node("Relu", b.gemm(x, 32, 32, alpha=0.5, beta=2.0))
    x = b.node("Relu", b.matmul(x, 32, 16))
    b.output(b.node("Softmax", b.matmul(b.node("Tanh", b.matmul(x, 16, 15, bias=False)), 15, 20)))


def attend(b: Builder, x: str, mask: str = "") -> str:
    """Four heads of attention over (N, 8, 32), with the projection behind it."""
    split, back = b.constant([0, 8, 4, 8], np.int64), b.constant([0, 8, 32], np.int64)
    own = [b.node("Reshape", b.matmul(x, 32, 32), split) for _ in range(3)]
    query, value = (b.node("Transpose", own[place], perm=[0, 2, 1, 3]) for place in (0, 2))
    scores = b.node("MatMul", query, b.node("Transpose", own[1], perm=[0, 2, 3, 1]))
    scores = b.node("Mul", scores, b.constant(8**-0.5))
    if mask:  # a constant beyond FP16, as masks have
        scores = b.node("Max", b.node("Add", scores, mask), b.constant(-3e38))
    shares = b.node("Softmax", scores, axis=-1)
    joined = b.node("Transpose", b.node("MatMul", shares, value), perm=[0, 2, 1, 3])
    return b.matmul(b.node("Reshape", joined, back), 32, 32)


def gelu(b: Builder, x: str) -> str:
    """GELU as exporters spell it."""
    erf = b.node("Erf", b.node("Div", x, b.constant(2**0.5)))
    return b.node("Mul", b.node("Mul", x, b.node("Add", erf, b.constant(1))), b.constant(0.5))


def spelled_norm(b: Builder, x: str) -> str:
    """LayerNormalization from its parts."""
    centred = b.node("Sub", x, b.node("ReduceMean", x, axes=[-1]))
    variance = b.node("ReduceMean", b.node("Pow", centred, b.constant(2)), axes=[-1])
    scaled = b.node("Div", centred, b.node("Sqrt", b.node("Add", variance, b.constant(1e-5))))
    return b.node("Add", b.node("Mul", scaled, b.vector(32, 0.5, 1.5)), b.vector(32))


def transformer(b: Builder) -> None:
    """A block with LayerNormalization, attention and GELU: MatMuls of two activations (OpenVINO 4), SmoothQuant."""
    x = b.input("x", 8, 32)
    x = b.node("Add", x, attend(b, b.node("LayerNormalization", x, b.vector(32, 0.5, 1.5), b.vector(32), axis=-1)))
    inner = b.node("LayerNormalization", x, b.vector(32, 0.5, 1.5), b.vector(32), axis=-1)
    x = b.node("Add", x, b.matmul(gelu(b, b.matmul(inner, 32, 64)), 64, 32))
    b.output(b.gemm(b.node("ReduceMean", x, axes=[1], keepdims=0), 32, 10))


def spelled_transformer(b: Builder) -> None:
    """The same in opset 13, LayerNormalization spelled out, with an attention mask of -10000 as a second input."""
    x, mask = b.input("x", 8, 32), b.input("mask", 1, 1, 8)
    b.data["mask"] = np.where(b.data["mask"] > 1, -10000, 0).astype(np.float32)
    x = spelled_norm(b, b.node("Add", x, attend(b, x, mask)))
    b.output(spelled_norm(b, b.node("Add", x, b.matmul(gelu(b, b.matmul(x, 32, 64)), 64, 32))), 3)


def shared(b: Builder) -> None:
    """One weight for two Convs, one that two Gemms take along two axes, one bias for both, one behind a norm."""
    weight, bias, square = b.weight(16, 16, 3, 3), b.vector(16), b.weight(16, 16)
    x = b.conv_relu(b.input("x", *IMAGE), 3, 16)
    x = b.node("Relu", b.node("Conv", x, weight, bias, pads=[1] * 4))
    x = b.node("Relu", b.norm(b.node("Conv", x, weight, bias, pads=[1] * 4), 16))
    x = b.node("Flatten", b.node("GlobalAveragePool", x))
    x = b.node("Relu", b.node("Gemm", x, square, bias, transB=1))
    b.output(b.node("Add", b.node("Gemm", x, square, bias, transB=0), b.node("MatMul", x, square)))


def branches(b: Builder) -> None:
    """If, each branch reading an outer tensor and one of its own weights: a subgraph takes tensors unseen."""
    x = b.conv_relu(b.input("x", *IMAGE), 3, 16)
    kept = b.clip(b.conv(x, 16, 16))
    positive = b.node("Greater", b.node("ReduceMean", x, keepdims=0), b.constant(0.1))
    own, arms = b.weight(16, 16, 1, 1), []
    for number, kind in enumerate(("Relu", "Sigmoid")):
        inner = [
            helper.make_node("Conv", [kept, own], [f"arm_{number}_conv"], name=f"arm_{number}_conv"),
            helper.make_node(kind, [f"arm_{number}_conv"], [f"arm_{number}_out"], name=f"arm_{number}_{kind}"),
        ]
        result = helper.make_tensor_value_info(f"arm_{number}_out", FLOAT, None)
        arms.append(helper.make_graph(inner, f"arm_{number}", [], [result]))
    x = b.node("If", positive, then_branch=arms[0], else_branch=arms[1])
    b.head(b.conv_relu(x, 16, 16), 16)


def loops(b: Builder) -> None:
    """Loop of three rounds whose body adds an outer tensor to what it carries."""
    x = b.conv_relu(b.input("x", *IMAGE), 3, 16)
    step = b.conv_relu(x, 16, 16)
    carried = helper.make_tensor_value_info("carried", FLOAT, None)
    put = helper.make_tensor_value_info("carried_on", FLOAT, None)
    count = helper.make_tensor_value_info("round", TensorProto.INT64, [])
    flags = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go_on", "goes_on")]
    inner = [
        helper.make_node("Add", ["carried", step], ["carried_on"], name="body_add"),
        helper.make_node("Identity", ["go_on"], ["goes_on"], name="body_identity"),
    ]
    body = helper.make_graph(inner, "body", [count, flags[0], carried], [flags[1], put])
    x = b.node("Loop", b.constant(3, np.int64), b.constant(True, np.bool_), x, body=body)
    b.head(b.conv_relu(x, 16, 16), 16)


def half(b: Builder) -> None:
    """All of it in FP16, inputs, weights and outputs."""
    x = b.input("x", *IMAGE, dtype=HALF)
    for given in (3, 16):
        weight, bias = b.weight(16, given, 3, 3, dtype=np.float16), b.constant(b.rng.normal(size=16), np.float16)
        x = b.node("Relu", b.node("Conv", x, weight, bias, pads=[1] * 4))
    b.output(x, 4, HALF)


def half_input(b: Builder) -> None:
    """An FP16 input and output with Casts, and FP16 weights that a Cast makes FP32 of."""
    x = b.node("Cast", b.input("x", *IMAGE, dtype=HALF), to=FLOAT)
    x = b.conv_relu(x, 3, 16)
    weight = b.node("Cast", b.weight(16, 16, 3, 3, dtype=np.float16), to=FLOAT)
    x = b.conv_relu(b.node("Relu", b.node("Conv", x, weight, pads=[1] * 4)), 16, 16)
    b.output(b.node("Cast", b.conv(x, 16, 4, 1), to=HALF), 4, HALF)


def constants(b: Builder) -> None:
    """Constant nodes for weights, bounds and shapes; initializers that are inputs, too; no names, and ours."""
    x = b.conv(b.input("x", *IMAGE), 3, 16)
    b.inputs.append(helper.make_tensor_value_info(b.constants[0].name, FLOAT, b.constants[0].dims))
    x = b.clip(x)
    x = b.node("Mul", x, b.constant(b.rng.uniform(0.5, 2, (16, 1, 1)), name=f"{x}_scale"))
    x = b.node("Conv", x, b.weight(16, 16, 1, 1), b.constant(np.ones(16), name=f"{x}_zero_point"))
    x = b.conv_relu(x, 16, 16)
    x = b.node("Reshape", b.node("GlobalAveragePool", x), b.constant([0, 16], np.int64))
    b.output(b.gemm(b.node("Relu", b.gemm(x, 16, 32)), 32, 16))
    given = {value.name for value in b.inputs}
    moved = [tensor for tensor in b.constants if tensor.name not in given]
    b.constants = [tensor for tensor in b.constants if tensor.name in given]
    b.nodes = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in moved] + b.nodes
    for node in b.nodes:
        node.name = {"Constant": "", "Relu": "", "Mul": f"Relu_{len(b.nodes) - 2}"}.get(node.op_type, node.name)


def opset_11(b: Builder) -> None:
    """Opset 11, to be converted: Pad, Squeeze and Dropout of that time, Clip without an upper bound."""
    x = b.node("Pad", b.input("x", *IMAGE), b.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    x = b.node("Relu", b.norm(b.conv(x, 3, 16, pad=0), 16))
    x = b.node("Clip", b.conv(x, 16, 16, group=16), b.constant(0))
    x = b.clip(b.conv(b.node("Dropout", x), 16, 32, 1))
    x = b.node("Squeeze", b.node("GlobalAveragePool", x), axes=[2, 3])
    b.output(b.gemm(x, 32, 16))


def opset_10(b: Builder) -> None:
    """Opset 10, which is refused for its age."""
    x = b.node("Clip", b.conv(b.input("x", *IMAGE), 3, 16), min=0.0, max=6.0)
    b.output(b.conv(x, 16, 4, 1), 4)


def opset_21(b: Builder) -> None:
    """Opset 21: axes as inputs, Gelu as an operator, Split by count, GroupNormalization."""
    x = b.conv(b.input("x", *IMAGE), 3, 16)
    x = b.node("Gelu", b.node("GroupNormalization", x, b.vector(16, 0.5, 2), b.vector(16), num_groups=4))
    wide = b.conv_relu(x, 16, 32, group=16)
    means = b.node("ReduceMean", wide, b.constant([-2, -1], np.int64))
    x = b.node("Mul", wide, b.node("Sigmoid", b.conv(b.conv_relu(means, 32, 16, 1), 16, 32, 1)))
    first, second = b.nodes_of("Split", [b.conv_relu(x, 32, 32, 1)], 2, axis=1, num_outputs=2)
    b.head(b.node("Add", b.conv(b.node("Identity", first), 16, 16), second), 16)


def large(b: Builder) -> None:
    """An image of more than 64x64 pixels, and sums of more and of fewer than 16,384 values (OpenVINO 1, 2, 3)."""
    x = b.conv_relu(b.input("x", 3, 72, 72), 3, 8)
    x = b.node("Relu", b.node("Add", b.conv(x, 8, 8), x))
    x = b.conv_relu(b.node("MaxPool", x, kernel_shape=[4, 4], strides=[4, 4]), 8, 16)
    x = b.node("Relu", b.node("Add", b.conv(x, 16, 16), x))
    b.head(b.node("MaxPool", b.conv_relu(x, 16, 16), kernel_shape=[2, 2], strides=[2, 2]), 16)


def unknown(b: Builder) -> None:
    """An operator that nobody knows: both sides must refuse it in the same words."""
    x = b.conv_relu(b.input("x", *IMAGE), 3, 16)
    b.output(b.node("Unheard", x), 4)


GRAPHS: dict[str, Callable[[Builder], None]] = {
    build.__name__: build
    for build in (
        plain, residual, chains, mobile, upward, inception, pools, gates, products, transformer, spelled_transformer,
        shared, branches, loops, half, half_input, constants, opset_11, opset_10, opset_21, large, unknown,
    )
}  # fmt: skip
STRANGE = {"plain", "gates", "transformer"}
OPSETS = {"spelled_transformer": 13, "opset_11": 11, "opset_10": 10, "opset_21": 21, "inception": 13}


def write(name: str, folder: Path) -> tuple[Path, Path]:
    """Write ``<name>.onnx`` and ``<name>.npz``."""
    builder = Builder(name, OPSETS.get(name, 17), name in STRANGE)
    GRAPHS[name](builder)
    model, data = folder / f"{name}.onnx", folder / f"{name}.npz"
    model.write_bytes(builder.model().SerializeToString(deterministic=True))
    np.savez(data, **builder.data)
    return model, data


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for graph in GRAPHS:
        print(*write(graph, target))
