"""Corrects biases on the quantized network: the mean of every layer's output becomes that of the FP32 model.

The method is that of Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019),
https://arxiv.org/abs/1906.04721, appendix D, with measured means: layers are corrected one by one, each after those
before it were. Neighbours corrected together overshoot: MobileNetV2 loses 10 dB by it in groups of five, and gains half
of one in turn. A mean that is off by less than chance is left.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.core.progress import Advance, Progress
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

SECONDS = 60.0  # that the passes may take together; slower models are looked at with fewer batches
FEWEST = 16  # batches
CERTAIN = 2.0  # standard errors of the mean over batches, beyond which it counts as off

Floats = npt.NDArray[np.float64]


def corrected_biases(
    target: Target, model: ModelFile, recipe: Recipe, batches: list[Batch], step: int, progress: Progress
) -> Recipe:
    """Measure by how much the means of layers' outputs are off, and correct the biases for it.

    Args:
        target: The target, whose Q/DQ model is computed in onnxruntime.
        model: The user's model.
        recipe: The recipe.
        batches: The samples.
        step: The number of samples in a run of the model.
        progress: Displays the progress.

    Returns:
        The recipe with other biases.
    """
    floating = target.floating(model.with_weights(recipe.weights), recipe)
    undo = Undo(floating.proto.graph, floating.factors)
    axes = _axes(floating.proto)
    begun = time.monotonic()
    _means(floating.proto, axes, batches[:FEWEST], step, lambda count: None, undo)
    each = (time.monotonic() - begun) / max(len(batches[:FEWEST]), 1)
    batches = batches[: max(FEWEST, int(SECONDS / max(each * len(axes), 1e-9)))]
    with progress("correcting biases", (len(axes) + 1) * len(batches), "batches") as advance:
        exact = _means(floating.proto, axes, batches, step, advance, undo)
        current = recipe
        for name, axis in axes.items():
            proto = target.quantized(model.with_weights(recipe.weights), current).proto
            own = _means(proto, {name: axis}, batches, step, advance, undo).get(name)
            if own is not None and own.shape == exact[name].shape:
                off = _certain(own - exact[name])
                before = current.biases.get(name, np.zeros_like(off))
                current = replace(current, biases={**current.biases, name: before + off})
    return current


def _certain(errors: Floats) -> Floats:
    """Return the mean of each channel's errors, (batches, C), or 0 where it may be chance."""
    mean = errors.mean(axis=0)
    chance = errors.std(axis=0) / np.sqrt(max(len(errors) - 1, 1))
    found: Floats = np.where(np.isfinite(mean) & (np.abs(mean) > CERTAIN * chance), mean, 0.0)
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
    proto: onnx.ModelProto, axes: Mapping[str, int], batches: list[Batch], step: int, advance: Advance, undo: Undo
) -> dict[str, Floats]:
    """Return the mean of each channel of tensors in each batch, (batches, C), in the units of the user's model."""
    present = {name for node in proto.graph.node for name in node.output}
    names = {name: name for name in axes if name in present}
    found: dict[str, list[Floats]] = {}
    with tempfile.TemporaryDirectory(prefix="quantkit-") as folder:
        save_model(proto, Path(folder))
        file = Path(folder) / MODEL_FILE
        external = (file.parent / f"{file.name}.data").is_file()
        runner = OnnxOutputs(file, read_graph(file), external, names)
        for batch in batches:
            for name, values in runner.infer(batch.resized(step)).items():
                own = undo(name, values)
                axis = axes[name] % own.ndim
                others = tuple(i for i in range(own.ndim) if i != axis)
                found.setdefault(name, []).append(own.mean(axis=others, dtype=np.float64))
            advance(1)
    return {name: np.array(own) for name, own in found.items() if len({mean.shape for mean in own}) == 1}


def first_batches(batches: Iterable[Batch], count: int) -> list[Batch]:
    """Return the first batches, at most so many."""
    found = []
    for batch in batches:
        found.append(batch)
        if len(found) == count:
            break
    return found
