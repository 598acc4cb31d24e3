"""What a calibration pass found that people should know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from quantkit.core.histogram import Histogram
from quantkit.datasets import Stream
from quantkit.model.activations import activation_names
from quantkit.model.file import ModelFile

MOST_NAMED = 5  # names shown of a longer list


def findings(
    stream: Stream, histograms: Mapping[str, Histogram], model: ModelFile, exclude: Sequence[str]
) -> list[str]:
    """Sentences on skipped and repeated images, wildcards that match nothing, and tensors that were always zero."""
    names = stream.dataset.names
    graph = model.graph_only.graph
    sentences = []
    if stream.skipped:
        skipped = [f"{names[i]} ({why})" for i, why in stream.skipped.items()]
        sentences.append(
            f"{len(skipped)} of {len(stream.indices)} images could not be read and were skipped: {some(skipped)}."
        )
    twins = [names[i] for i in stream.repeats()]
    if twins:
        sentences.append(f"{len(twins)} of {len(stream.indices)} images are copies of others: {some(twins)}.")
    excludable = [*activation_names(graph), *(i.name for i in model.inputs), *(node.name for node in graph.node)]
    idle = [pattern for pattern in exclude if not any(fnmatchcase(name, pattern) for name in excludable)]
    if idle:
        sentences.append(f"--exclude matches no node or tensor: {some(idle)}.")
    dead = [name for name, histogram in histograms.items() if histogram.is_dead]
    if dead:
        sentences.append(f"{len(dead)} tensors were zero for every image: {some(dead)}.")
    return sentences


def some(names: Sequence[str]) -> str:
    """The first few of many names."""
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
