"""Ranges for a model, and what tests look at in the Q/DQ model made with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from quantkit.calibrators import calibrators, solve
from quantkit.calibrators.collect import Collector, first_widths, note_maxima
from quantkit.core.ranges import TensorRange
from quantkit.graph.model_file import ModelFile, open_model
from quantkit.runtime.activations import ActivationSession, Runner
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt

X = np.random.default_rng(0).standard_normal((8, 3, 16, 16)).astype(np.float32)


def ranges_of(model: ModelFile, *feeds: dict[str, np.ndarray]) -> dict[str, TensorRange]:
    """Of minimum and maximum over all feeds."""
    session = ActivationSession(model)
    runner = Runner(session)
    maxima: dict[str, float] = {}
    note_maxima(maxima, runner.run(feeds[0]), session.clamps)
    collector = Collector(first_widths(maxima), len(feeds), clamps=session.clamps)
    for position, feed in enumerate(feeds):
        collector.observe(runner.run(feed), position)
    minmax = {"minmax": calibrators()["minmax"]}
    return {name: solve(h, minmax)["minmax"] for name, h in collector.collected().histograms.items()}


def quantized_block(model: onnx.ModelProto, tmp_path: Path) -> tuple[onnx.ModelProto, dict[str, TensorRange]]:
    onnx.save(model, tmp_path / "block.onnx")
    file = open_model(tmp_path / "block.onnx")
    ranges = ranges_of(file, {"input": np.random.default_rng(1).standard_normal((1, 16, 8, 8)).astype(np.float32)})
    quantized = quantized_for_tensorrt(file, ranges).proto
    onnx.checker.check_model(quantized)
    return quantized, ranges


def session_of(model: onnx.ModelProto) -> ort.InferenceSession:
    """As the graph says: onnxruntime's optimizer fuses pairs away, and quantizes biases by scales that underflow."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options)


def run(model: onnx.ModelProto, feed: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """The first output, for ``X`` if there is no other feed."""
    return session_of(model).run(None, feed or {"input": X})[0]  # type: ignore[no-any-return]


def sqnr(reference: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10((reference**2).sum() / ((reference - other) ** 2).sum()))


def initializer(model: onnx.ModelProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(next(t for t in model.graph.initializer if t.name == name))  # type: ignore[no-any-return]


def dequantized_inputs(model: onnx.ModelProto, node_name: str) -> list[bool]:
    """For each input of a node, whether a DequantizeLinear feeds it."""
    producers = {name: n.op_type for n in model.graph.node for name in n.output}
    node = next(n for n in model.graph.node if n.name == node_name)
    return [producers.get(name) == "DequantizeLinear" for name in node.input]
