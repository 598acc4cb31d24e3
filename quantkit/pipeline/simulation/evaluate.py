"""Computes variants of a quantized model on all samples of a stream, on every core."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from quantkit.core.decibels import energy, noise_energy
from quantkit.core.errors import BadModel, NothingEvaluated
from quantkit.core.progress import Progress, silent
from quantkit.datasets import Batch, Stream
from quantkit.graph.model_file import ModelFile
from quantkit.pipeline.comparison.reference import by_sample
from quantkit.pipeline.simulation.simulation import AS_IT_IS, Baseline, Simulation, Variant
from quantkit.tasks import Outputs

BYTES_AT_ONCE = 16 * 2**20  # that a baseline keeps: with more, values are out of the caches before they are read
MOST_AT_ONCE = 64  # samples in one run


@dataclass(frozen=True)
class Case:
    """A variant, and whether it is one of the quantized model or of the one in floating point."""

    quantized: bool
    variant: Variant = AS_IT_IS


Taken = Callable[[int, Outputs, Outputs, Batch], None]
"""Takes the number of a case, the outputs in floating point and those of the case, samples along the first axis, and
the batch. It is called in the order of the batches for each case, and from several threads for different ones."""


def evaluate_cases(
    simulation: Simulation,
    cases: Sequence[Case],
    stream: Stream,
    model: ModelFile,
    take: Taken,
    progress: Progress = silent,
) -> int:
    """Compute cases on all samples. What is kept does not grow with the samples.

    Args:
        simulation: The simulation.
        cases: The cases.
        stream: The samples.
        model: The user's model, which says where the samples of a batch lie.
        take: Takes the outputs.
        progress: Displays the progress.

    Returns:
        The number of samples that could be read.

    Raises:
        BadModel: The model fails on a batch.
        NothingEvaluated: No sample can be read.
    """
    size, done = _samples_at_once(simulation, stream, model), 0
    axes = simulation.batch_axes(model)
    numbers = {q: [n for n, case in enumerate(cases) if case.quantized == q] for q in (False, True)}

    def compute(baseline: Baseline, expected: Outputs, batch: Batch, step: int, number: int) -> None:
        found = baseline.variant(cases[number].variant)
        take(number, expected, by_sample(found, axes, step, len(batch.indices)), batch)

    with (
        ThreadPoolExecutor(_cores(), thread_name_prefix="variants") as pool,
        progress("simulating", len(stream.indices), "samples") as advance,
    ):
        for batch in stream.batches(size):
            count = len(batch.indices)
            step = model.fixed_batch or count  # shapes of few samples make small batches
            inputs = batch.resized(step)
            baseline = simulation.baseline(inputs, quantized=False)
            expected = by_sample(baseline.outputs, axes, step, count)
            _each(pool, partial(compute, baseline, expected, batch, step), numbers[False])
            if numbers[True]:
                del baseline  # its tensors are of no more use
                baseline = simulation.baseline(inputs, quantized=True)
                _each(pool, partial(compute, baseline, expected, batch, step), numbers[True])
            del baseline
            done += count
            advance(count)
    return done


def _each(pool: ThreadPoolExecutor, work: Callable[[int], None], numbers: Sequence[int]) -> None:
    """Do work for every number on all threads; after an error, none of the rest is begun."""
    futures = [pool.submit(work, number) for number in numbers]
    try:
        for future in futures:
            future.result()
    finally:
        for future in futures:
            future.cancel()


def noise_of(
    simulation: Simulation,
    cases: Sequence[Case],
    stream: Stream,
    model: ModelFile,
    progress: Progress = silent,
) -> list[dict[str, float]]:
    """Measure how far cases are from floating point.

    Args:
        simulation: The simulation.
        cases: The cases.
        stream: The samples.
        model: The user's model.
        progress: Displays the progress.

    Returns:
        For each case, the energy of the error of each output relative to the output's own, Σ (ref - x)² / Σ ref², by
        output. Outputs of another shape than in floating point, and those that are no floating-point numbers, are left
        out.

    Raises:
        BadModel: The model fails on a batch.
        NothingEvaluated: No sample can be read.
    """
    noise: list[dict[str, float]] = [{} for _ in cases]
    signal: list[dict[str, float]] = [{} for _ in cases]

    def take(number: int, expected: Outputs, own: Outputs, batch: Batch) -> None:
        for name, values in expected.items():
            if values.dtype.kind == "f" and name in own and own[name].shape == values.shape:
                noise[number][name] = noise[number].get(name, 0.0) + noise_energy(values, own[name])
                signal[number][name] = signal[number].get(name, 0.0) + energy(values)

    evaluate_cases(simulation, cases, stream, model, take, progress)
    return [
        {name: found / (signal[number][name] or 1.0) for name, found in by_output.items()}
        for number, by_output in enumerate(noise)
    ]


def _samples_at_once(simulation: Simulation, stream: Stream, model: ModelFile) -> int:
    """Return how many samples to run together: one, if the model computes another result for several."""
    if model.fixed_batch is not None:
        return model.fixed_batch
    first = next(stream.batches(1), None)
    if first is None:
        raise NothingEvaluated(f"No sample of {stream.dataset.source} could be read.", "Check the files.")
    alone = simulation.baseline(first.inputs, quantized=False)
    size = min(BYTES_AT_ONCE // max(alone.bytes, 1), MOST_AT_ONCE, len(stream.indices))
    if size <= 1:
        return 1
    axes = simulation.batch_axes(model)
    several = next(stream.batches(size), first)
    if several.indices[0] != first.indices[0]:  # of another shape
        alone = simulation.baseline(several.resized(1), quantized=False)
    try:  # a batch may be declared dynamic, but be fixed inside the model, or its samples be mixed
        together = by_sample(simulation.baseline(several.resized(size), quantized=False).outputs, axes, size, 1)
        own = by_sample(alone.outputs, axes, 1, 1)
    except BadModel:
        return 1
    same = together.keys() == own.keys() and all(
        together[name].shape == values.shape and np.allclose(together[name], values, rtol=1e-3, atol=1e-4)
        for name, values in own.items()
    )
    return int(size) if same else 1


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
