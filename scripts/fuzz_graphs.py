"""Calibrates and exports random graphs, and checks every file that comes out.

    python scripts/fuzz_graphs.py [--seconds 60] [--seed N] [--keep FOLDER]

Each graph is made from one seed out of the operators that placement rules speak of: residual sums, shared weights,
fan-out, outputs inside the graph, subgraphs, odd names, computed weights, unsorted nodes, and every opset from 11. Each
has to be exported in files that load, whose transforms change nothing before rounding, and whose INT8 is as good as the
rounding of its pairs predicts; or to be refused with a clear error. The seeds of failures are printed, and tried first
when they are listed in --seeds. Exit code 1 if there is a failure.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

NEWEST = onnx.defs.onnx_opset_version()
ODD = ("", "_scale", "_quantized", "_dequantized", "_zero_point", "/with/slashes", " with spaces", "_cast_to_fp16")
WORST = 6.0  # dB that INT8 may be below the same pairs simulated without onnxruntime's integer kernels
ENOUGH = 45.0  # dB; onnxruntime moves pairs across layers that only move values, and may round an output by it
RTX = "TensorRT for RTX"  # whose parser export asks where it is installed
SAMPLES = 24


class Net:
    """Builds a graph of images (N, C, 8, 8) or of tokens (N, 6, C) step by step."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.opset = int(self.rng.integers(11, NEWEST + 1))
        self.images = bool(self.rng.random() < 0.6)
        self.channels = int(self.rng.choice([4, 16, 24]))
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.tensors: list[str] = ["x"]
        self.outputs: set[str] = set()
        self.weights: dict[tuple[int, ...], str] = {}
        self.count = 0

    def pick(self, *options: Any) -> Any:
        """One of the options, by chance."""
        return options[int(self.rng.integers(len(options)))]

    def name(self, stem: str) -> str:
        """A new name, sometimes one that looks like quantkit's own."""
        self.count += 1
        base = self.pick(*self.tensors[-3:]) if self.rng.random() < 0.1 else f"{stem}{self.count}"
        name = f"{base}{self.pick(*ODD)}" if self.rng.random() < 0.15 else f"{stem}{self.count}"
        return name if name not in {*self.tensors, *(own.name for own in self.constants)} else f"{stem}_{self.count}"

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Add an initializer; return its name."""
        name = self.name("c")
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return its output."""
        output = self.name(op.lower())
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        self.tensors.append(output)
        return output

    def last(self) -> str:
        """The latest tensor, or sometimes an earlier one."""
        return self.tensors[-1] if self.rng.random() < 0.7 else str(self.pick(*self.tensors))

    def weight(self, *shape: int) -> str:
        """A weight: new, shared with another layer, or behind a node that computes it."""
        if shape in self.weights and self.rng.random() < 0.2:
            return self.weights[shape]
        scale = np.exp(self.rng.normal(0, 1, (shape[0], *[1] * (len(shape) - 1))))
        values = self.rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape) * scale
        way = self.rng.random()
        if way < 0.08:
            name = self._hidden("Identity", self.constant(values))
        elif way < 0.14 and len(shape) == 2:
            name = self._hidden("Transpose", self.constant(values.T), perm=[1, 0])
        elif way < 0.2:
            name = self._hidden("Mul", self.constant(values * 2), self.constant(0.5))
        else:
            name = self.constant(values)
        self.weights[shape] = name
        return name

    def _hidden(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = self.name("w")
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name


def conv(net: Net) -> None:
    """A Conv, perhaps with a BatchNormalization behind it."""
    c = net.channels
    group = net.pick(1, 1, c, 2)
    size = net.pick(1, 3)
    bias = [net.constant(net.rng.normal(0, 0.3, c))] if net.rng.random() < 0.6 else []
    weight = net.weight(c, c // group, size, size)
    out = net.add("Conv", net.last(), weight, *bias, group=int(group), pads=[size // 2] * 4)
    if net.rng.random() < 0.3:
        parts = [net.rng.uniform(0.5, 2, c), net.rng.normal(0, 0.3, c), net.rng.normal(0, 0.3, c)]
        net.add("BatchNormalization", out, *map(net.constant, parts), net.constant(net.rng.uniform(0.5, 2, c)))


def deconv(net: Net) -> None:
    """A ConvTranspose."""
    c = net.channels
    group = net.pick(1, 2)
    bias = [net.constant(net.rng.normal(0, 0.3, c))] if net.rng.random() < 0.5 else []
    net.add("ConvTranspose", net.last(), net.weight(c, c // group, 3, 3), *bias, group=int(group), pads=[1] * 4)


def matmul(net: Net) -> None:
    """A MatMul, perhaps with a bias."""
    c = net.channels
    out = net.add("MatMul", net.last(), net.weight(c, c))
    if net.rng.random() < 0.6:
        shape = net.pick((c,), (1, c), (1, 1, c))
        both = [out, net.constant(net.rng.normal(0, 0.3, shape))]
        net.add("Add", *(both if net.rng.random() < 0.7 else both[::-1]))


def attention(net: Net) -> None:
    """Attention, perhaps with a mask."""
    x = net.last()
    q, k = (net.add("MatMul", x, net.weight(net.channels, net.channels)) for _ in "qk")
    scores = net.add("MatMul", q, net.add("Transpose", k, perm=[0, 2, 1]))
    if net.rng.random() < 0.5:
        mask = np.triu(np.full((6, 6), net.pick(-1e9, -10000.0, float(np.finfo(np.float32).min), -np.inf)), 1)
        scores = net.add("Add", scores, net.constant(mask))
    net.add("MatMul", net.add("Softmax", scores, axis=2), x)


def activation(net: Net) -> None:
    """An activation function."""
    op = net.pick("Relu", "Sigmoid", "LeakyRelu", "Tanh", "HardSigmoid", "Elu", "Clip")
    if op == "Clip":
        net.add("Clip", net.last(), net.constant(net.pick(0.0, -1.0)), net.constant(net.pick(6.0, 1.0)))
    else:
        net.add(op, net.last())


def gated(net: Net) -> None:
    """A tensor times its own gate."""
    x = net.last()
    net.add("Mul", x, net.add(net.pick("Sigmoid", "HardSigmoid"), x))


def arithmetic(net: Net) -> None:
    """Arithmetic of two tensors, or with a constant."""
    op = net.pick("Add", "Mul", "Sub", "Add")
    x = net.last()
    if net.rng.random() < 0.6:
        net.add(op, x, net.last())
        return
    per = (1, net.channels, 1, 1) if net.images else (net.channels,)
    shape = net.pick((), per)
    other = net.constant(net.rng.uniform(0.3, 1.5, shape) * net.pick(1.0, 1.0, 50.0))
    net.add(op, *((x, other) if net.rng.random() < 0.8 else (other, x)))


def concat(net: Net) -> None:
    """A Concat of two tensors with a layer behind it."""
    axis = 1 if net.images else 2
    a, b = net.last(), net.last()
    big = net.add("Concat", a, b, axis=axis)
    c = net.channels
    weight = net.weight(c, 2 * c, 1, 1) if net.images else net.weight(2 * c, c)
    net.tensors.remove(big)
    net.add("Conv" if net.images else "MatMul", big, weight)


def moved(net: Net) -> None:
    """An operator that moves or pools values."""
    x = net.last()
    if not net.images:
        shape = net.add("Reshape", x, net.constant([-1, 6, net.channels // 2, 2], np.int64))
        net.tensors.remove(shape)
        net.add("Reshape", shape, net.constant([-1, 6, net.channels], np.int64))
        return
    way = net.pick("pool", "average", "pad", "resize")
    if way == "pool":
        net.add("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4)
    elif way == "average":
        net.add("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4)
    elif way == "pad":
        padded = net.add("Pad", x, net.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64), net.constant(net.pick(0.0, -1e9)))
        net.tensors.remove(padded)
        net.add("MaxPool", padded, kernel_shape=[3, 3])
    else:
        sizes = net.constant([1, 1, 2, 2])
        big = net.add("Resize", x, net.constant([], np.float32) if net.opset < 13 else "", sizes, mode="nearest")
        net.tensors.remove(big)
        net.add("MaxPool", big, kernel_shape=[2, 2], strides=[2, 2])


def normalized(net: Net) -> None:
    """A normalization, spelled out."""
    x = net.last()
    axes = [1] if net.images else [2]
    if net.opset < 18:
        mean = net._hidden("ReduceMean", x, axes=axes)
    else:
        mean = net._hidden("ReduceMean", x, net.constant(axes, np.int64))
    centred = net._hidden("Sub", x, mean)
    square = net._hidden("Mul", centred, centred)
    variance = (
        net._hidden("ReduceMean", square, axes=axes)
        if net.opset < 18
        else net._hidden("ReduceMean", square, net.constant(axes, np.int64))
    )
    root = net._hidden("Sqrt", net._hidden("Add", variance, net.constant(net.pick(1e-5, 1e-10))))
    net.add("Div", centred, root)


def branch(net: Net) -> None:
    """An If whose branches read a tensor from outside."""
    x, condition = net.last(), net.constant(True, np.bool_)
    out = net.name("if")
    bodies = []
    for op in ("Relu", "Neg"):
        inner = f"{out}_{op}"
        value = helper.make_tensor_value_info(inner, TensorProto.FLOAT, None)
        bodies.append(helper.make_graph([helper.make_node(op, [x], [inner])], op, [], [value]))
    net.nodes.append(helper.make_node("If", [condition], [out], then_branch=bodies[0], else_branch=bodies[1]))
    net.tensors.append(out)


IMAGE_STEPS = (conv,) * 4 + (deconv, activation, activation, gated, arithmetic, concat, moved, normalized, branch)
TOKEN_STEPS = (matmul, matmul, matmul, attention, activation, gated, arithmetic, concat, moved, normalized, branch)


def graph_of(seed: int) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Make the model and the samples of a seed."""
    net = Net(seed)
    shape: list[Any] = ["N", net.channels, 8, 8] if net.images else ["N", 6, net.channels]
    for _ in range(int(net.rng.integers(2, 12))):
        net.pick(*(IMAGE_STEPS if net.images else TOKEN_STEPS))(net)
    ends = {net.tensors[-1]} | {name for name in net.tensors[1:] if net.rng.random() < 0.08}
    if net.rng.random() < 0.03:
        ends.add("x")
    if net.rng.random() < 0.2:
        order = net.rng.permutation(len(net.nodes))
        net.nodes = [net.nodes[number] for number in order]
    names = list(dict.fromkeys(sorted(ends - {"x"}))) + (["x"] if "x" in ends else [])
    unknown = ["N", *"hij"[: len(shape) - 1]]
    graph = helper.make_graph(
        net.nodes,
        f"seed {seed}",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape if name == "x" else unknown) for name in names],
        net.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", net.opset)])
    model.ir_version = min(model.ir_version, 11)
    size = (SAMPLES, *(8 if own == "N" else own for own in shape[1:]))
    x = net.rng.normal(0, 1, size) * np.exp(net.rng.normal(0, 0.5, (SAMPLES, *[1] * (len(size) - 1))))
    return model, {"x": x.astype(np.float32)}


def tried(seed: int) -> tuple[int, str, str]:
    """Return the seed, "exported", "refused", "invalid" or "failed", and why."""
    from check_artifacts import faults_of, outputs_of, sqnr, transform_faults

    import quantkit as qk
    from quantkit.core.errors import QuantkitError
    from quantkit.graph.model_file import open_model

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="quantkit-fuzz-") as folder:
        path = Path(folder) / "model.onnx"
        try:
            model, feeds = graph_of(seed)
            onnx.save(model, path)
            one = {name: own[:1] for name, own in feeds.items()}
            reference = outputs_of(path, one)
        except Exception as error:  # noqa: BLE001  (a graph that onnxruntime does not run is no test)
            return seed, "invalid", str(error).splitlines()[0][:150]
        try:
            np.savez(Path(folder) / "data.npz", **feeds)
            calibration = qk.calibrate(path, Path(folder) / "data.npz", samples=SAMPLES)
            faults = list(transform_faults(open_model(path), one, calibration))
            for target in ("onnxruntime", "openvino", "tensorrt"):
                try:
                    artifacts = qk.export(calibration, target, precisions=("fp16", "int8"), output=Path(folder) / "out")
                except QuantkitError as refusal:
                    if target == "onnxruntime" or RTX in str(refusal):
                        faults.append(f"refused for {target}: {refusal}")
                    continue
                for artifact in artifacts:
                    faults += faults_of(artifact)
                    faults += [note for note in artifact.notes if "was not written" in note]
                    if artifact.precision == "int8" and target == "onnxruntime" and not faults:
                        as_said = sqnr(reference, outputs_of(artifact.path, one, optimized=False))
                        as_run = sqnr(reference, outputs_of(artifact.path, one))
                        if as_run < min(as_said, ENOUGH) - WORST:
                            faults.append(f"onnxruntime INT8 has {as_run:.1f} dB, its pairs predict {as_said:.1f}")
            return (seed, "failed", "; ".join(faults[:3])) if faults else (seed, "exported", "")
        except QuantkitError as refusal:
            return seed, "refused", str(refusal).replace(folder, "")[:200]
        except Exception as error:  # noqa: BLE001
            where = traceback.extract_tb(error.__traceback__)[-1]
            return seed, "failed", f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"


def main() -> int:
    """Try graphs until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="seeds to try before")
    parser.add_argument("--keep", type=Path, help="folder for the models that fail")
    arguments = parser.parse_args()
    end, counts, failures = time.monotonic() + arguments.seconds, dict[str, int](), []
    refusals: dict[str, int] = {}
    waiting, following = list(arguments.seeds), arguments.seed
    with ProcessPoolExecutor(2) as pool:
        while time.monotonic() < end or waiting:
            batch, waiting = waiting, []
            if not batch:
                batch, following = list(range(following, following + 16)), following + 16
            for seed, what, why in pool.map(tried, batch):
                counts[what] = counts.get(what, 0) + 1
                if what == "refused":
                    refusals[why] = refusals.get(why, 0) + 1
                if what == "failed":
                    failures.append(seed)
                    print(f"FAILED seed {seed}: {why}", flush=True)
                    if arguments.keep:
                        arguments.keep.mkdir(parents=True, exist_ok=True)
                        onnx.save(graph_of(seed)[0], arguments.keep / f"{seed}.onnx")
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())), f"(seeds to {following - 1})")
    for why, count in sorted(refusals.items(), key=lambda item: -item[1])[:10]:
        print(f"  refused {count}: {why}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
