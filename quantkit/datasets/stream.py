"""Reads batches of samples of one shape, decoding ahead in threads, in bounded memory."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadData
from quantkit.datasets.base import Dataset, Inputs, Unreadable

BatchAxes = Mapping[str, int | None]
"""The batch axis of each model input; None for an input without one."""

MOST_UNREADABLE = 0.05  # share of samples that may be skipped
WORKERS = min(4, os.cpu_count() or 1)
WAITING = 64  # samples that wait for others of their shape, or two batches
WAITING_BYTES = 64 << 20  # of their inputs

Shape = tuple[tuple[str, tuple[int, ...]], ...]
"""The name and the shape of every input, sorted by name."""


def shape_of(inputs: Mapping[str, npt.NDArray[Any]]) -> Shape:
    """Return the shapes of arrays by name."""
    return tuple((name, np.shape(array)) for name, array in sorted(inputs.items()))


@dataclass(frozen=True)
class Sample:
    """A sample: number ``position`` of the chosen ones, number ``index`` of the data set."""

    position: int
    index: int
    inputs: Inputs


@dataclass(frozen=True)
class Batch:
    """Samples as a model takes them, and their indices in the data set.

    Attributes:
        inputs: The arrays by input, with the samples along its batch axis; an input without one has one value for all.
        indices: The indices of the samples.
        axes: The batch axis of each input; 0 for one that is not named.
    """

    inputs: dict[str, npt.NDArray[np.generic]]
    indices: list[int]
    axes: BatchAxes = field(default_factory=dict)

    @property
    def by_sample(self) -> dict[str, npt.NDArray[Any]]:
        """The inputs with samples along the first axis, without those that have no batch axis."""
        axes = {name: self.axes.get(name, 0) for name in self.inputs}
        return {name: np.moveaxis(self.inputs[name], axis, 0) for name, axis in axes.items() if axis is not None}

    def resized(self, size: int) -> dict[str, npt.NDArray[np.generic]]:
        """Return the inputs of a batch of ``size`` samples, with samples repeated or left out."""
        if size == len(self.indices):
            return self.inputs
        order = np.arange(size) % len(self.indices)
        axes = {name: self.axes.get(name, 0) for name in self.inputs}
        return {
            name: array if (axis := axes[name]) is None else np.ascontiguousarray(np.take(array, order, axis))
            for name, array in self.inputs.items()
        }


class Stream:
    """Reads chosen samples of a data set as batches, and skips, counts and names unreadable ones.

    A sample's position is its number among the chosen ones. BadData is raised as soon as more than 5 % of the samples
    are known to be unreadable.

    Args:
        dataset: The data set.
        indices: The indices of the chosen samples.
        axes: The batch axis of each model input, None for one without; 0 for one that is not named.
        workers: The number of threads that read and prepare samples.
    """

    def __init__(
        self, dataset: Dataset, indices: Sequence[int], axes: BatchAxes | None = None, workers: int = WORKERS
    ) -> None:
        self.dataset, self.workers = dataset, workers
        self.axes: BatchAxes = axes or {}
        self.indices = [int(index) for index in indices]
        self.skipped: dict[int, str] = {}
        self._digests: dict[int, bytes] = {}

    @property
    def names(self) -> list[str]:
        """The names of the chosen samples, by position."""
        return [self.dataset.names[index] for index in self.indices]

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield batches of up to ``size`` readable samples, all of one shape.

        As long as there is a single shape, samples stay in order. As soon as there are several, samples wait, so that
        those of one shape come one after the other: a runtime may have to compile the model for each change of shape.
        While as many wait as may, those whose shape has waited longest are not waited for any longer.
        """
        waiting: dict[Shape, list[Sample]] = {}  # the shape that has waited longest comes first
        first: Shape | None = None
        mixed, count, held = False, 0, 0
        for sample in self.samples(range(len(self.indices))):
            shape = shape_of(sample.inputs)
            first = first or shape
            mixed = mixed or shape != first
            waiting.setdefault(shape, []).append(sample)
            count, held = count + 1, held + _size(sample)
            full = count == size if not mixed else count >= max(WAITING, 2 * size) or held > WAITING_BYTES
            if full:
                ready = waiting.pop(next(iter(waiting)))
                count, held = count - len(ready), held - sum(map(_size, ready))
                yield from self._divided(ready, size)
        for samples in waiting.values():
            yield from self._divided(samples, size)

    def _divided(self, samples: Sequence[Sample], size: int) -> Iterator[Batch]:
        for start in range(0, len(samples), size):
            yield stacked(samples[start : start + size], self.axes)

    def samples(self, positions: Sequence[int]) -> Iterator[Sample]:
        """Yield the readable samples at ``positions``, in that order."""
        waiting = deque(positions)
        ahead: deque[tuple[int, Future[tuple[Inputs, bytes]]]] = deque()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="decode") as pool:
            try:
                while waiting or ahead:
                    while waiting and len(ahead) < 2 * self.workers:
                        position = waiting.popleft()
                        ahead.append((position, pool.submit(self.dataset.load, self.indices[position])))
                    position, future = ahead.popleft()
                    try:
                        inputs, digest = future.result()
                    except Unreadable as reason:
                        self._skip(position, str(reason))
                        continue
                    self._digests[position] = digest
                    yield Sample(position, self.indices[position], inputs)
            finally:
                pool.shutdown(cancel_futures=True)

    def sha256(self) -> str:
        """Return the hex SHA-256 over the digests of all samples read so far, in order."""
        return samples_sha256(self.digests(), len(self.indices))

    def digests(self) -> dict[int, str]:
        """Return the hex SHA-256 of each sample read so far, by position; for :meth:`resume`."""
        return {position: digest.hex() for position, digest in self._digests.items()}

    def resume(self, digests: Mapping[int, str], skipped: Mapping[int, str]) -> None:
        """Add the state of an interrupted pass, or of a pass over some of the samples.

        Args:
            digests: The hex SHA-256 of samples by position.
            skipped: The reasons why samples could not be read, by position.

        Raises:
            BadData: Too many samples are unreadable.
        """
        self._digests |= {position: bytes.fromhex(digest) for position, digest in digests.items()}
        for position, reason in skipped.items():
            self._skip(position, reason)

    def _skip(self, position: int, reason: str) -> None:
        self.skipped[position] = reason
        check_unreadable(self.skipped, self.names, self.dataset.source)


def _size(sample: Sample) -> int:
    return sum(np.asarray(array).nbytes for array in sample.inputs.values())


def check_unreadable(skipped: Mapping[int, str], names: Sequence[str], source: str) -> None:
    """Check that at most 5 % of the samples were skipped.

    Args:
        skipped: The reasons why samples could not be read, by position.
        names: The names of all chosen samples.
        source: What error messages call the data.

    Raises:
        BadData: More samples were skipped.
    """
    if len(skipped) <= MOST_UNREADABLE * len(names):
        return
    position, reason = list(skipped.items())[-1]
    raise BadData(
        f"{len(skipped)} of {len(names)} images in {source} cannot be read, the last one {names[position]} ({reason}); "
        f"at most {MOST_UNREADABLE:.0%} may be skipped.",
        "Remove or replace the damaged files.",
    )


def samples_sha256(digests: Mapping[int, str], samples: int) -> str:
    """Return the hex SHA-256 over the digests of ``samples`` samples by position, in order."""
    digest = hashlib.sha256()
    for position in range(samples):
        digest.update(bytes.fromhex(digests.get(position, "")))
    return digest.hexdigest()


def stacked(samples: Sequence[Sample], axes: BatchAxes | None = None) -> Batch:
    """Stack samples to one batch; a single sample is not copied.

    Args:
        samples: The samples.
        axes: The batch axis of each input, None for one without; 0 for one that is not named.

    Returns:
        The batch.

    Raises:
        BadData: The samples differ in an input that has no batch axis.
    """
    axes = axes or {}
    arrays = {n: _stacked([np.asarray(s.inputs[n]) for s in samples], axes.get(n, 0), n) for n in samples[0].inputs}
    return Batch(arrays, [sample.index for sample in samples], axes)


def _stacked(arrays: Sequence[npt.NDArray[np.generic]], axis: int | None, name: str) -> npt.NDArray[np.generic]:
    first = arrays[0]
    if axis is not None:
        return np.expand_dims(first, axis) if len(arrays) == 1 else np.stack(arrays, axis)
    if not all(np.array_equal(first, other) for other in arrays[1:]):
        raise BadData(
            f"Samples of one batch differ in {name!r}, which has no batch axis in this model.",
            "Export the model with a batch of 1, or name the axis of that input (--batch-axis, batch_axis=).",
        )
    return first
