"""Corrects biases on the quantized network: the mean of every layer's output becomes that of the FP32 model.

Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019), appendix D, go through
the layers in order, and run the network once for each. Here all layers are corrected at once, and again: what the first
pass takes away too much, because layers before were off, the second gives back. Since a layer's output depends on those
before it alone, this settles in a few passes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.core.progress import Progress
from quantkit.core.recipe import Recipe
from quantkit.datasets import Batch
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile, read_graph
from quantkit.graph.operators import PRODUCTS
from quantkit.graph.save import MODEL_FILE, save_model
from quantkit.runtime.layer_outputs import OnnxOutputs
from quantkit.targets import Target
from quantkit.transforms.bias_correction import biased_output
from quantkit.transforms.equalized import Undo

PASSES = 3

Floats = npt.NDArray[np.float64]


def corrected_biases(
    target: Target, model: ModelFile, recipe: Recipe, batches: list[Batch], step: int, progress: Progress
) -> list[Recipe]:
    """Measure by how much the means of layers' outputs are off, and correct the biases for it, several times.

    Args:
        target: The target, whose Q/DQ model is computed in onnxruntime.
        model: The user's model.
        recipe: The recipe.
        batches: The samples.
        step: The number of samples in a run of the model.
        progress: Displays the progress.

    Returns:
        The recipe after each pass.
    """
    floating = target.floating(model.with_weights(recipe.weights), recipe)
    axes = _axes(floating.proto)
    undo = Undo(floating.proto.graph, floating.factors)
    found: list[Recipe] = []
    with progress("correcting biases", (PASSES + 1) * len(batches), "batches") as advance:
        exact = _means(floating.proto, axes, batches, step, advance, undo)
        current = recipe
        for _ in range(PASSES):
            proto = target.quantized(model.with_weights(recipe.weights), current).proto
            own = _means(proto, axes, batches, step, advance, undo)
            biases = dict(current.biases)
            for name, mean in own.items():
                if name in exact and np.isfinite(mean).all() and mean.shape == exact[name].shape:
                    biases[name] = biases.get(name, np.zeros_like(mean)) + mean - exact[name]
            current = replace(current, biases=biases)
            found.append(current)
    return found


def _axes(proto: onnx.ModelProto) -> dict[str, int]:
    """Return the outputs of layers with a bias, each with the axis of its channels."""
    graph = Graph(proto.graph)
    found = {}
    for node in graph.of_type(*PRODUCTS):
        name = biased_output(graph, node)
        if len(node.input) > 2 or name != node.output[0]:
            found[name] = 1 if node.op_type == "Conv" else -1
    return found


def _means(
    proto: onnx.ModelProto, axes: Mapping[str, int], batches: list[Batch], step: int, advance: object, undo: Undo
) -> dict[str, Floats]:
    """Return the mean of each channel of tensors, in the units of the user's model."""
    present = {name for node in proto.graph.node for name in node.output}
    names = {name: name for name in axes if name in present}
    total: dict[str, Floats] = {}
    with tempfile.TemporaryDirectory(prefix="quantkit-") as folder:
        save_model(proto, Path(folder))
        file = Path(folder) / MODEL_FILE
        external = (file.parent / f"{file.name}.data").is_file()
        runner = OnnxOutputs(file, read_graph(file).graph, external, names)
        for batch in batches:
            for name, values in runner.infer(batch.resized(step)).items():
                own = undo(name, values).astype(np.float64, copy=False)
                axis = axes[name] % own.ndim
                mean = own.mean(axis=tuple(i for i in range(own.ndim) if i != axis))
                total[name] = total.get(name, np.zeros_like(mean)) + mean
            advance(1)  # type: ignore[operator]
    return {name: own / len(batches) for name, own in total.items()}


def first_batches(batches: Iterable[Batch], count: int) -> list[Batch]:
    """Return the first batches, at most so many."""
    found = []
    for batch in batches:
        found.append(batch)
        if len(found) == count:
            break
    return found
