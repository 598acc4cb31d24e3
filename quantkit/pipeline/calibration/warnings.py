"""Warnings about a calibration pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import onnx

from quantkit.core.errors import BadModel
from quantkit.core.statistics.collected import Collected
from quantkit.core.statistics.extent import STRANGE, Extent
from quantkit.core.statistics.histogram import Histogram
from quantkit.core.wildcards import matches
from quantkit.core.wording import some
from quantkit.graph.graph import Graph, activation_names, label, subgraphs
from quantkit.graph.model_file import ModelFile
from quantkit.graph.operators import WEIGHTED
from quantkit.runtime.out_of_reach import out_of_reach

GROWTH = 0.05  # of a tensor's range, in the last tenth of the images; smaller growth is normal


def idle_patterns(model: ModelFile, exclude: Sequence[str]) -> list[str]:
    """Warn about wildcards that match nothing."""
    graph = model.graph_only.graph
    excludable = [*activation_names(Graph(graph)), *(i.name for i in model.inputs), *(node.name for node in graph.node)]
    idle = [pattern for pattern in exclude if not any(matches(name, [pattern]) for name in excludable)]
    return [f"exclude matches no node or tensor: {some(idle)}."] if idle else []


def beyond_onnxruntime(model: ModelFile) -> tuple[str, ...]:
    """Warn about operators that onnxruntime does not have, and say what they cost.

    Raises:
        BadModel: No Conv, Gemm or MatMul is in front of them, so that there is nothing to calibrate.
    """
    out = out_of_reach(model.graph_only, model.source)
    if not out.nodes:
        return ()
    operators = f"{some(out.operators)} ({some(list(map(label, out.nodes)))})"
    layers, behind = _layers(model.graph_only.graph.node), _layers(out.behind)
    if behind == layers:
        raise BadModel(
            f"onnxruntime does not have {operators}, and no Conv, Gemm or MatMul is in front.",
            "quantkit calibrates in onnxruntime: export the model with operators of ONNX's own.",
        )
    return (
        f"onnxruntime does not have {operators}: ranges are found in front of that, and what needs its outputs stays "
        f"in floating point ({behind} of {layers} layers).",
    )


def _layers(nodes: Iterable[onnx.NodeProto]) -> int:
    """Return the number of Convs, Gemms and MatMuls, those in subgraphs among them."""
    return sum((node.op_type in WEIGHTED) + sum(_layers(own.node) for own in subgraphs(node)) for node in nodes)


def warnings_after(
    names: Sequence[str], skipped: Mapping[int, str], collected: Collected, masked: Collection[str] = ()
) -> list[str]:
    """Warn about skipped images, tensors with -Inf or only zeros, and ranges that a few images decided.

    Args:
        names: The names of the chosen samples, in order.
        skipped: The reasons why samples were skipped, by position.
        collected: The counts.
        masked: The tensors that held -Inf.

    Returns:
        The warnings.
    """
    sentences = []
    if not collected.histograms and not masked:
        sentences.append(
            "NOTHING CAN BE QUANTIZED: the model has no floating-point activation, and its INT8 files are itself."
        )
    if skipped:
        reasons = [f"{names[position]} ({why})" for position, why in sorted(skipped.items())]
        sentences.append(f"{len(reasons)} of {len(names)} images could not be read and were skipped: {some(reasons)}.")
    if masked:
        sentences.append(
            f"{len(masked)} {'tensor holds' if len(masked) == 1 else 'tensors hold'} -inf, as masks do, and "
            f"{'stays' if len(masked) == 1 else 'stay'} in floating point: {some(sorted(masked))}."
        )
    dead = [name for name, histogram in collected.histograms.items() if histogram.is_dead]
    if dead:
        sentences.append(f"{len(dead)} tensors were zero for every image: {some(dead)}.")
    sentences += _grown(collected.histograms, collected.extents, len(names))
    return sentences + _lone_images(collected.extents, names)


def _grown(histograms: Mapping[str, Histogram], extents: Mapping[str, Extent], samples: int) -> list[str]:
    grown = {}
    for name, extent in extents.items():
        histogram = histograms[name]
        span = histogram.maximum - histogram.minimum
        early = extent.early_maximum - extent.early_minimum
        if span > 0 and early < (1 - GROWTH) * span:
            grown[name] = 1 - max(early, 0.0) / span
    if not grown or samples < 2:
        return []
    worst = sorted(grown, key=lambda name: -grown[name])
    return [
        f"The ranges of {len(grown)} tensors still grew in the last tenth of the images, so that more images would "
        f"widen them further: {some([f'{name} (by {grown[name]:.0%})' for name in worst])}."
    ]


def _lone_images(extents: Mapping[str, Extent], names: Sequence[str]) -> list[str]:
    by_image: dict[int, list[str]] = defaultdict(list)
    for name, extent in extents.items():
        if extent.is_strange:
            by_image[extent.position].append(name)
    images = sorted(by_image, key=lambda position: -len(by_image[position]))
    listed = [f"{names[position]} ({some(by_image[position])})" for position in images]
    if not listed:
        return []
    return [
        f"A single image sets the min-max range of {sum(map(len, by_image.values()))} tensors, at over {STRANGE} times "
        f"what any other reaches: {'; '.join(listed[:3])}{' and others' if len(listed) > 3 else ''}."
    ]
