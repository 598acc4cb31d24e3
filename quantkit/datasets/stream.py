"""Batches in order, decoded ahead in threads, in bounded memory."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadInput
from quantkit.datasets.base import Dataset, Inputs, Unreadable

MOST_UNREADABLE = 0.05  # share of samples that may be skipped
WORKERS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Batch:
    """Samples stacked along a new first dimension, and their positions in the dataset."""

    inputs: dict[str, npt.NDArray[np.generic]]
    indices: list[int]


class Stream:
    """Reads chosen samples of a dataset as batches; skips, counts and names the unreadable ones.

    Raises BadInput as soon as more than 5 % of the samples are known to be unreadable.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = [int(index) for index in indices]
        self.skipped: dict[int, str] = {}
        self._digests: dict[int, bytes] = {}

    def batches(self, size: int, start: int = 0) -> Iterator[Batch]:
        """Batches of up to ``size`` readable samples, beginning with the ``start``-th chosen one."""
        pending: list[tuple[int, Inputs]] = []
        for index, sample in self._samples(start):
            pending.append((index, sample))
            if len(pending) == size:
                yield _stacked(pending)
                pending = []
        if pending:
            yield _stacked(pending)

    def sha256(self) -> str:
        """Hex SHA-256 over the stored bytes' digests of all samples read so far, in order."""
        digest = hashlib.sha256()
        for index in self.indices:
            digest.update(self._digests.get(index, b""))
        return digest.hexdigest()

    def digests(self) -> list[str]:
        """The SHA-256 of each sample read so far, in order; for :meth:`resume`."""
        return [self._digests[index].hex() if index in self._digests else "" for index in self.indices]

    def repeats(self) -> list[int]:
        """Samples read so far whose stored bytes equal those of an earlier one."""
        seen: set[bytes] = set()
        twins = []
        for index in self.indices:
            digest = self._digests.get(index)
            if digest in seen:
                twins.append(index)
            elif digest is not None:
                seen.add(digest)
        return twins

    def resume(self, digests: Sequence[str], skipped: dict[int, str]) -> None:
        """Take over what an interrupted pass had noted."""
        self._digests = {i: bytes.fromhex(d) for i, d in zip(self.indices, digests, strict=False) if d}
        self.skipped = dict(skipped)

    def _samples(self, start: int) -> Iterator[tuple[int, Inputs]]:
        waiting = deque(self.indices[start:])
        ahead: deque[tuple[int, Future[tuple[Inputs, bytes]]]] = deque()
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="decode") as pool:
            try:
                while waiting or ahead:
                    while waiting and len(ahead) < 2 * WORKERS:
                        index = waiting.popleft()
                        ahead.append((index, pool.submit(self.dataset.load, index)))
                    index, future = ahead.popleft()
                    try:
                        sample, digest = future.result()
                    except Unreadable as reason:
                        self._skip(index, str(reason))
                        continue
                    self._digests[index] = digest
                    yield index, sample
            finally:
                pool.shutdown(cancel_futures=True)

    def _skip(self, index: int, reason: str) -> None:
        self.skipped[index] = reason
        if len(self.skipped) > MOST_UNREADABLE * len(self.indices):
            names = self.dataset.names
            raise BadInput(
                f"{len(self.skipped)} of {len(self.indices)} images in {self.dataset.source} cannot be read, the last "
                f"one {names[index]} ({reason}); at most {MOST_UNREADABLE:.0%} may be skipped.",
                "Remove or replace the damaged files.",
            )


def _stacked(samples: list[tuple[int, Inputs]]) -> Batch:
    names = samples[0][1].keys()
    return Batch(
        {name: np.stack([sample[name] for _, sample in samples]) for name in names}, [index for index, _ in samples]
    )
