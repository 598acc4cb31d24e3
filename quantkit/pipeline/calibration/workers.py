"""The workers of a calibration pass, which run the model on groups of samples and count its activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from itertools import groupby, repeat

import numpy as np

from quantkit.calibrators.collect import Collector, NotFinite, first_widths, note_maxima
from quantkit.calibrators.moments import MomentsCollector
from quantkit.core.errors import BadData
from quantkit.core.statistics.collected import Collected
from quantkit.datasets import Sample, stacked
from quantkit.datasets.stream import BatchAxes, shape_of
from quantkit.runtime.activations import Activations, Inputs, Runner

ACTIVATION_MEMORY = 256 << 20  # bytes; the limit for the activations of all workers together


@dataclass(frozen=True)
class Group:
    """The samples of one run of the model, and its inputs, padded to the model's fixed batch of ``step``."""

    samples: list[Sample]
    inputs: Inputs
    step: int
    first_axis: bool  # True if the batch is the first axis of every input that has a batch axis

    @classmethod
    def of(cls, samples: Iterable[Sample], step: int, axes: BatchAxes | None = None) -> Iterator[Group]:
        """Yield groups of the readable samples whose positions belong to the same ``step`` positions.

        A group ends where the shape changes, too. It never depends on the samples of other groups, and the order stays
        that of the positions, so that shards and resumed passes run the same groups.
        """
        first_axis = not any((axes or {}).values())
        for _, run in groupby(samples, key=lambda sample: (sample.position // step, shape_of(sample.inputs))):
            own = list(run)
            inputs = stacked([*own, *repeat(own[-1], step - len(own))], axes).inputs
            yield cls(own, inputs, step, first_axis)

    def rows(self, activations: Activations) -> Iterator[tuple[Sample, Activations]]:
        """Yield the activations of each sample.

        A tensor without a row per sample goes to the first sample as a whole, and so does everything where samples are
        stacked along another axis than the first. It is the sample that matters then, not which of a run's.
        """
        if self.step == 1:
            yield self.samples[0], activations
            return
        rowed = {n for n, array in activations.items() if self.first_axis and array.ndim and len(array) == self.step}
        for row, sample in enumerate(self.samples):
            own = {n: a[row : row + 1] if n in rowed else a for n, a in activations.items() if n in rowed or row == 0}
            yield sample, own


@dataclass(frozen=True)
class FirstBatch:
    """What the first batch tells.

    Attributes:
        maxima: The max|x| of every tensor.
        size: The size in bytes of the activations of one run.
        masked: The tensors that hold -Inf.
        runs: The number of runs of the model.
    """

    maxima: dict[str, float]
    size: int
    masked: frozenset[str]
    runs: int


def first_maxima(
    runner: Runner,
    groups: Iterable[Group],
    first_batch: int,
    names: Sequence[str],
    excluded: Callable[[str], bool] = lambda name: False,
) -> tuple[FirstBatch, tuple[Group, Activations] | None]:
    """Run the first batch.

    Args:
        runner: Runs the model.
        groups: The groups of samples, in order.
        first_batch: The number of samples in the first batch.
        names: The names of all samples in the data set.
        excluded: True for the names of tensors that may hold NaN or Inf.

    Returns:
        The first batch's statistics; and, if the batch was a single group, the group with its activations, which
        ``runner`` still holds.

    Raises:
        BadInput: An activation is NaN or +Inf.
    """
    maxima: dict[str, float] = {}
    masked: set[str] = set()
    left, size, run = first_batch, 0, 0
    for group in groups:
        activations = runner.run(group.inputs)
        run += 1
        size = max(size, sum(array.nbytes for array in activations.values()))
        for sample, own in group.rows(activations):
            if left > 0:
                with finite(sample, names):
                    masked |= note_maxima(maxima, own | _settled(own, excluded), runner.clamps)
            left -= 1
        if left <= 0:
            break
    return FirstBatch(maxima, size, frozenset(masked), run), (group, activations) if run == 1 else None


@contextmanager
def finite(sample: Sample, names: Sequence[str]) -> Iterator[None]:
    """Convert NotFinite to a BadInput that names the sample."""
    try:
        yield
    except NotFinite as error:
        raise BadData(
            f"The tensor {error.tensor!r} holds {error.value} for {names[sample.index]}.",
            "Check that sample and the preprocessing; if the model means it, leave it out (--exclude, exclude=).",
        ) from error


def division(size: int, cores: int) -> tuple[int, int]:
    """Divide cores among workers.

    One worker with one thread per core is fastest, because nothing waits. But each worker holds the activations of one
    run, so a large model gets fewer workers with more threads.

    Args:
        size: The size of one run's activations in bytes.
        cores: The number of cores.

    Returns:
        The number of workers, and the number of threads of each.
    """
    workers = max(1, min(cores, ACTIVATION_MEMORY // max(size, 1)))
    return workers, cores // workers


class Worker:
    """Runs the model for one group at a time, and counts the activations on ``threads`` threads."""

    def __init__(
        self,
        runner: Runner,
        first: FirstBatch,
        samples: int,
        axes: Mapping[str, int],
        names: Sequence[str],
        threads: int,
        excluded: Callable[[str], bool] = lambda name: False,
        moments: MomentsCollector | None = None,
    ) -> None:
        self.not_finite: set[str] = set()
        self._moments = moments
        self._excluded = excluded
        self._runner = runner
        self._names = names
        widths = first_widths(first.maxima)
        self._collectors = [Collector(widths, samples, axes, runner.clamps, first.masked) for _ in range(threads)]
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="count") if threads > 1 else None

    def count(self, group: Group, activations: Activations | None = None) -> None:
        """Run the model and count its activations.

        Args:
            group: The samples.
            activations: The group's activations, if they are computed already.

        Raises:
            BadInput: An activation is NaN or +Inf; the message names tensor and sample.
        """
        activations = activations or self._runner.run(group.inputs)
        for sample, own in group.rows(activations):
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
                        note_maxima({}, own)  # raises for the first tensor in graph order
                        raise

        if self._moments is not None:
            self._moments.observe(activations, group.samples[0].position)

    @property
    def masked(self) -> set[str]:
        """The tensors that held -Inf."""
        return set[str]().union(*(collector.masked for collector in self._collectors))

    def collected(self) -> Collected:
        """Return the counts of this worker so far."""
        return reduce(Collected.merged, (collector.collected() for collector in self._collectors))


def _settled(activations: Activations, excluded: Callable[[str], bool]) -> Activations:
    """Return the excluded tensors that hold NaN or Inf, with zeros instead: they get a width but are not counted."""
    broken = (name for name, array in activations.items() if excluded(name) and not np.isfinite(array).all())
    return {name: np.nan_to_num(activations[name], nan=0.0, posinf=0.0, neginf=0.0) for name in broken}


def _shares(activations: Activations, count: int) -> list[Activations]:
    """Divide the tensors into ``count`` parts of about the same size."""
    shares: list[Activations] = [{} for _ in range(count)]
    sizes = [0] * count
    for name, array in sorted(activations.items(), key=lambda item: -item[1].size):
        smallest = sizes.index(min(sizes))
        shares[smallest][name] = array
        sizes[smallest] += array.size
    return shares
