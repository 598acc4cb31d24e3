"""Times candidates from files to answers: decoding, preprocessing, copies, the network, and what is made of outputs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantkit.core.end_to_end import EndToEnd
from quantkit.core.progress import Progress, silent
from quantkit.datasets import Batch, Sample, Stream, Unreadable, stacked
from quantkit.measure.latency import Timing
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.comparison.reference import Reference
from quantkit.targets.session import DeviceSession
from quantkit.tasks import Task

SAMPLES, WARM_UP = 100, 3  # that are timed, and run before


@dataclass(frozen=True)
class Pipeline:
    """What a pipeline consists of besides the network.

    Attributes:
        stream: The samples.
        reference: Tells where the samples of outputs lie.
        task: Makes answers of outputs.
        step: The number of samples in one run of the model.
    """

    stream: Stream
    reference: Reference
    task: Task
    step: int


def time_end_to_end(
    candidates: Sequence[Candidate],
    pipeline: Pipeline,
    timings: Mapping[str, Timing],
    progress: Progress = silent,
) -> dict[str, EndToEnd]:
    """Time every candidate from files to answers.

    Args:
        candidates: The candidates.
        pipeline: What comes before and after the network.
        timings: The timings of the network by candidate key, whose copies count on a device.
        progress: Displays the progress.

    Returns:
        The times by candidate key.

    Raises:
        BadInput: A candidate fails on a sample.
    """
    found = {}
    with progress("timing end to end", len(candidates), "models") as advance:
        for candidate in candidates:
            found[candidate.key] = _timed(candidate, pipeline, timings[candidate.key])
            advance(1)
    return found


def _timed(candidate: Candidate, pipeline: Pipeline, timing: Timing) -> EndToEnd:
    parts = list(_one_by_one(candidate, pipeline))
    timed = parts[WARM_UP:] or parts
    decode, preprocess, network, answer = np.median(timed, axis=0)
    copies = 0.0
    if isinstance(candidate.session, DeviceSession) and timing.with_copies is not None:
        copies = min(max(timing.with_copies.p50 - timing.latency.p50, 0.0), float(network))
    return EndToEnd(
        decode=float(decode),
        preprocess=float(preprocess),
        copies=copies,
        network=float(network) - copies,
        answer=float(answer),
        per_second=_per_second(candidate, pipeline),
        samples=len(timed),
    )


def _one_by_one(candidate: Candidate, pipeline: Pipeline) -> Iterator[tuple[float, float, float, float]]:
    """Yield the milliseconds of decoding, preprocessing, the network and the answer, sample by sample."""
    stream = pipeline.stream
    for position, index in enumerate(stream.indices[: SAMPLES + WARM_UP]):
        try:
            inputs, decode, preprocess = stream.dataset.timed_load(index)
        except Unreadable:
            continue
        batch = stacked([Sample(position, index, inputs)], stream.axes)
        array = batch.resized(pipeline.step)
        start = time.perf_counter()
        outputs = candidate.session.infer(array)
        middle = time.perf_counter()
        _answer(pipeline, outputs, batch)
        end = time.perf_counter()
        yield 1e3 * decode, 1e3 * preprocess, 1e3 * (middle - start), 1e3 * (end - middle)


def _per_second(candidate: Candidate, pipeline: Pipeline) -> float:
    """Return samples per second with files read ahead in threads, as the evaluation itself does."""
    whole = pipeline.stream
    stream = Stream(whole.dataset, whole.indices[:SAMPLES], whole.axes)
    count, start = 0, time.perf_counter()
    for batch in stream.batches(pipeline.step):
        outputs = candidate.session.infer(batch.resized(pipeline.step))
        _answer(pipeline, outputs, batch)
        count += len(batch.indices)
    return count / max(time.perf_counter() - start, 1e-9)


def _answer(pipeline: Pipeline, outputs: Mapping[str, np.ndarray], batch: Batch) -> None:
    own = pipeline.reference.by_sample(outputs, pipeline.step, len(batch.indices))
    pipeline.task.answers(own, batch.by_sample)
