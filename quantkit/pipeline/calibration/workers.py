"""What a calibration pass runs on: groups of samples, and workers that run the model and count its activations."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from itertools import groupby, repeat

import numpy as np

from quantkit.calibrators.collect import Collector, NotFinite, note_maxima
from quantkit.core.errors import BadInput
from quantkit.core.statistics.collected import Collected
from quantkit.datasets import Sample, stacked
from quantkit.runtime.activations import Activations, Inputs, Runner

ACTIVATION_MEMORY = 256 << 20  # bytes that the activations of all workers may take together


@dataclass(frozen=True)
class Group:
    """What one run of the model takes: samples, and the same padded to the model's fixed batch."""

    samples: list[Sample]
    inputs: Inputs

    @classmethod
    def of(cls, samples: Iterable[Sample], step: int) -> Iterator[Group]:
        """Samples whose positions share a run of ``step``, as many of them as could be read."""
        for _, run in groupby(samples, key=lambda sample: sample.position // step):
            own = list(run)
            yield cls(own, stacked([*own, *repeat(own[-1], step - len(own))]).inputs)

    def rows(self, activations: Activations) -> Iterator[tuple[Sample, Activations]]:
        """The activations of each sample. What has no row for each sample goes, whole, with the first one."""
        step = len(next(iter(self.inputs.values())))
        rowed = {name for name, array in activations.items() if array.ndim and len(array) == step}
        for row, sample in enumerate(self.samples):
            own = {n: a[row : row + 1] if n in rowed else a for n, a in activations.items() if n in rowed or row == 0}
            yield sample, own


def first_maxima(
    runner: Runner,
    groups: Iterable[Group],
    first_batch: int,
    names: Sequence[str],
    excluded: Callable[[str], bool] = lambda name: False,
) -> tuple[dict[str, float], int, tuple[Group, Activations] | None]:
    """Max|x| of every tensor over the first ``first_batch`` samples, and the bytes that one run's activations take.

    Where one group was enough, it comes with its activations, which ``runner`` still holds, so that it can be counted
    without a second run. Raises BadInput when one is not finite.
    """
    maxima: dict[str, float] = {}
    left, size, run = first_batch, 0, 0
    for group in groups:
        activations = runner.run(group.inputs)
        run += 1
        size = max(size, sum(array.nbytes for array in activations.values()))
        for sample, own in group.rows(activations):
            if left > 0:
                with finite(sample, names):
                    note_maxima(maxima, own | _settled(own, excluded), runner.clamps)
            left -= 1
        if left <= 0:
            break
    return maxima, size, (group, activations) if run == 1 else None


@contextmanager
def finite(sample: Sample, names: Sequence[str]) -> Iterator[None]:
    """Turns NotFinite into a BadInput that names the sample."""
    try:
        yield
    except NotFinite as error:
        raise BadInput(
            f"The tensor {error.tensor!r} holds {error.value} for {names[sample.index]}.",
            "Check that image and the preprocessing, or leave the tensor out with --exclude.",
        ) from error


def division(size: int, cores: int) -> tuple[int, int]:
    """How many workers, and the threads of each, for runs whose activations take ``size`` bytes.

    A worker of one thread for every core is fastest: nothing waits for anything. But each holds the activations of one
    run, so that a large model gets fewer workers of more threads.
    """
    workers = max(1, min(cores, ACTIVATION_MEMORY // max(size, 1)))
    return workers, cores // workers


def usable_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Worker:
    """Runs the model for one group at a time and counts its activations on ``threads`` threads."""

    def __init__(
        self,
        runner: Runner,
        widths: Mapping[str, float],
        samples: int,
        axes: Mapping[str, int],
        names: Sequence[str],
        threads: int,
        excluded: Callable[[str], bool] = lambda name: False,
    ) -> None:
        self.not_finite: set[str] = set()
        self._excluded = excluded
        self._runner = runner
        self._names = names
        self._collectors = [Collector(widths, samples, axes, runner.clamps) for _ in range(threads)]
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="count") if threads > 1 else None

    def count(self, group: Group, activations: Activations | None = None) -> None:
        """Run the model, unless the group's ``activations`` are there, and count them.

        Raises BadInput, naming tensor and sample, when one is not finite.
        """
        for sample, own in group.rows(activations or self._runner.run(group.inputs)):
            if broken := _settled(own, self._excluded):
                self.not_finite |= broken.keys()
                own = {name: array for name, array in own.items() if name not in self.not_finite}
            with finite(sample, self._names):
                if self._pool is None:
                    self._collectors[0].observe(own, sample.position)
                else:
                    shares = _shares(own, len(self._collectors))
                    positions = repeat(sample.position)
                    try:
                        list(self._pool.map(Collector.observe, self._collectors, shares, positions))
                    except NotFinite:
                        note_maxima({}, own)  # raises for the first of the graph, however they were shared out
                        raise

    def collected(self) -> Collected:
        """What this worker has counted so far."""
        return reduce(Collected.merged, (collector.collected() for collector in self._collectors))


def _settled(activations: Activations, excluded: Callable[[str], bool]) -> Activations:
    """The excluded tensors that hold NaN or Inf, with zeros in place of those: they have a width, and no count."""
    broken = (name for name, array in activations.items() if excluded(name) and not np.isfinite(array).all())
    return {name: np.nan_to_num(activations[name], nan=0.0, posinf=0.0, neginf=0.0) for name in broken}


def _shares(activations: Activations, count: int) -> list[Activations]:
    """The tensors in ``count`` parts of about the same size."""
    shares: list[Activations] = [{} for _ in range(count)]
    sizes = [0] * count
    for name, array in sorted(activations.items(), key=lambda item: -item[1].size):
        smallest = sizes.index(min(sizes))
        shares[smallest][name] = array
        sizes[smallest] += array.size
    return shares
