"""Cheap checks of the calibration samples that produce warnings before the long work."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from quantkit.core.preprocess import Preprocess
from quantkit.core.wording import some
from quantkit.datasets.base import Dataset, Unreadable, class_indices

FEWEST = 100  # images; fewer rarely cover the values that a network's tensors can have
DOMINANT = 0.5  # share of the labelled images; with two classes, a larger share is normal
DOMINANT_OF_TWO = 0.8
PROBES = 16  # samples that are loaded to check the input values
FAR = 4  # times the largest value that the preprocessing produces


def warnings_before(dataset: Dataset, indices: Sequence[int]) -> list[str]:
    """Warn about a small set, a dominant class, copies, images of one colour and inputs of the wrong magnitude."""
    names = [dataset.names[index] for index in indices]
    called = "images" if isinstance(dataset.preprocess, Preprocess) else "samples"
    sentences = []
    if len(indices) < FEWEST:
        sentences.append(
            # scripts/bench_select.py
            f"{len(indices)} samples are few: ranges are seldom settled with fewer than {FEWEST}. With 20 instead of "
            "100, MobileNetV2 lost 1.4 dB; with 20 that are diverse (--select, select=), 0.5 dB."
        )
    sentences += _dominant_class(dataset, indices)
    twins = [names[position] for position in _twins(dataset, indices)]
    if twins:
        sentences.append(f"{len(twins)} of {len(indices)} {called} are copies of others: {some(twins)}.")
    constant = [name for name, index in zip(names, indices, strict=True) if dataset.is_constant(index)]
    if constant:
        sentences.append(f"{len(constant)} of {len(indices)} {called} are of one colour: {some(constant)}.")
    return sentences + _far_inputs(dataset, indices)


def _dominant_class(dataset: Dataset, indices: Sequence[int]) -> list[str]:
    known = class_indices(dataset.annotations)
    labels = [] if known is None else [int(known[index]) for index in indices]
    labelled = Counter(label for label in labels if label >= 0)
    if not labelled:
        return []
    label, count = labelled.most_common(1)[0]
    share = count / labelled.total()
    if share <= (DOMINANT_OF_TWO if len(labelled) == 2 else DOMINANT) or labelled.total() == 1:
        return []
    name = dataset.classes[label] if label < len(dataset.classes) else str(label)
    return [f"{share:.0%} of the labelled images are of one class, {name}: the ranges will fit it best."]


def _twins(dataset: Dataset, indices: Sequence[int]) -> list[int]:
    """Return the positions of samples that are copies of an earlier one, reading only samples of equal size."""
    by_size: dict[int, list[int]] = defaultdict(list)
    for position, index in enumerate(indices):
        by_size[dataset.size(index)].append(position)
    found = []
    for size, positions in by_size.items():
        seen: set[bytes] = set()
        for position in positions if len(positions) > 1 and size else ():
            try:
                digest = dataset.digest(indices[position])
            except Unreadable:
                continue
            if digest in seen:
                found.append(position)
            seen.add(digest)
    return sorted(found)


def _far_inputs(dataset: Dataset, indices: Sequence[int]) -> list[str]:
    """Warn about arrays that were passed as model inputs but are probably not normalised."""
    preprocess = dataset.preprocess
    if not isinstance(preprocess, Preprocess):
        return []
    ends = [
        (edge * 255 * preprocess.scale - preprocess.mean[at % len(preprocess.mean)])
        / preprocess.std[at % len(preprocess.std)]
        for edge in (0, 1)
        for at in range(preprocess.depth)
    ]
    usual = max(map(abs, ends))
    largest = 0.0
    for index in indices[:: max(1, len(indices) // PROBES)][:PROBES]:
        try:
            inputs, _ = dataset.load(index)
        except Unreadable:
            continue
        for array in inputs.values():
            # Only images: arrays with three dimensions, of which the first or last counts 1, 3 or 4 channels.
            if array.dtype.kind == "f" and array.ndim == 3 and {1, 3, 4} & {array.shape[0], array.shape[2]}:
                finite = array[np.isfinite(array)]
                largest = max(largest, float(np.abs(finite).max(initial=0.0)))
    if largest <= FAR * usual:
        return []
    return [
        f"Inputs reach {largest:.4g}, but the preprocessing ({preprocess.describe()}) makes {usual:.3g} at most: "
        "they may lack normalisation."
    ]
