"""Reads batches in order, decoding ahead in threads, in bounded memory."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadData
from quantkit.datasets.base import Dataset, Inputs, Unreadable

MOST_UNREADABLE = 0.05  # share of samples that may be skipped
WORKERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Sample:
    """A sample: number ``position`` of the chosen ones, number ``index`` of the data set."""

    position: int
    index: int
    inputs: Inputs


@dataclass(frozen=True)
class Batch:
    """Samples stacked along a new first dimension, and their indices in the data set."""

    inputs: dict[str, npt.NDArray[np.generic]]
    indices: list[int]


class Stream:
    """Reads chosen samples of a data set as batches, and skips, counts and names unreadable ones.

    A sample's position is its number among the chosen ones. BadData is raised as soon as more than 5 % of the samples
    are known to be unreadable.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = [int(index) for index in indices]
        self.skipped: dict[int, str] = {}
        self._digests: dict[int, bytes] = {}

    @property
    def names(self) -> list[str]:
        """The names of the chosen samples, by position."""
        return [self.dataset.names[index] for index in self.indices]

    def batches(self, size: int) -> Iterator[Batch]:
        """Yield batches of up to ``size`` readable samples."""
        pending: list[Sample] = []
        for sample in self.samples(range(len(self.indices))):
            pending.append(sample)
            if len(pending) == size:
                yield stacked(pending)
                pending = []
        if pending:
            yield stacked(pending)

    def samples(self, positions: Sequence[int]) -> Iterator[Sample]:
        """Yield the readable samples at ``positions``, in that order."""
        waiting = deque(positions)
        ahead: deque[tuple[int, Future[tuple[Inputs, bytes]]]] = deque()
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="decode") as pool:
            try:
                while waiting or ahead:
                    while waiting and len(ahead) < 2 * WORKERS:
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


def resized_batch(inputs: Mapping[str, npt.NDArray[np.generic]], size: int) -> dict[str, npt.NDArray[np.generic]]:
    """Repeat or cut a batch to ``size`` samples."""
    return {name: np.ascontiguousarray(np.resize(array, (size, *array.shape[1:]))) for name, array in inputs.items()}


def stacked(samples: Sequence[Sample]) -> Batch:
    """Stack samples to one batch; a single sample is not copied."""
    if len(samples) == 1:
        return Batch({n: np.asarray(array)[None] for n, array in samples[0].inputs.items()}, [samples[0].index])
    names = samples[0].inputs.keys()
    return Batch({n: np.stack([s.inputs[n] for s in samples]) for n in names}, [s.index for s in samples])
