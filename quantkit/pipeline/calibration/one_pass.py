"""One pass over the calibration data: decoding, inference and counting in parallel, with checkpoints."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from queue import SimpleQueue

from threadpoolctl import threadpool_limits

from quantkit.calibrators.moments import MomentsCollector
from quantkit.core.errors import BadData, QuantkitError
from quantkit.core.progress import Progress
from quantkit.core.shard import Shard
from quantkit.core.statistics.collected import Collected
from quantkit.datasets import Stream
from quantkit.graph.channel_axes import channel_axes
from quantkit.graph.graph import Graph
from quantkit.graph.layer_rows import LayerRows, layer_rows
from quantkit.graph.model_file import ModelFile
from quantkit.pipeline.calibration.checkpoint import Checkpoint, resumable
from quantkit.pipeline.calibration.workers import FirstBatch, Group, Worker, division, first_maxima
from quantkit.pipeline.manifest import Manifest
from quantkit.pipeline.run_directory import PARTIAL
from quantkit.runtime.activations import Activations, ActivationSession, Runner
from quantkit.targets.cpu import usable_cores

CHECKPOINT_SECONDS = 20


@dataclass(frozen=True)
class Counting:
    """The settings of a pass.

    Attributes:
        model: The model.
        keep: True for the names of tensors to count.
        excluded: True for the names of tensors that artifacts leave in floating point. If such a tensor holds NaN or
            Inf, it is left out.
        first_batch: How many of the first samples decide the bin widths.
        cores: The number of threads; None means all cores that this process may use.
        least_squares: True to collect the moments that weights are rounded with.
    """

    model: ModelFile
    keep: Callable[[str], bool]
    excluded: Callable[[str], bool]
    first_batch: int
    cores: int | None = None
    least_squares: bool = False

    def session(self, threads: int) -> ActivationSession:
        """Load the model with its activations as outputs. Raises BadModel if it has changed since it was opened."""
        session = ActivationSession(self.model, self.keep, threads, self.excluded)
        self.model.check_unchanged()
        return session

    def layers(self) -> list[LayerRows]:
        """Return the layers whose inputs' moments are wanted."""
        graph = Graph(self.model.graph_only.graph)
        found = (layer_rows(graph, node) for node in graph.nodes) if self.least_squares else ()
        return [rows for rows in found if rows is not None]

    @property
    def step(self) -> int:
        """The number of samples in one run of the model."""
        return self.model.fixed_batch or 1


def look_at_first_batch(
    counting: Counting, runner: Runner, stream: Stream
) -> tuple[FirstBatch, tuple[Group, Activations] | None]:
    """Run the first batch.

    Args:
        counting: The settings of the pass.
        runner: Runs the model.
        stream: The samples.

    Returns:
        The first batch's statistics; and, if the batch was a single run, its samples and activations, which are still
        in the runner's memory.

    Raises:
        BadInput: No sample can be read, or an activation is not finite.
    """
    samples = stream.samples(range(len(stream.indices)))
    names = stream.dataset.names
    groups = Group.of(samples, counting.step, stream.axes)
    first, only = first_maxima(runner, groups, counting.first_batch, names, counting.excluded)
    if not first.runs:
        raise BadData(f"No sample of {stream.dataset.source} could be read.", "Check the files.")
    return first, only


def collect(
    counting: Counting,
    stream: Stream,
    shard: Shard,
    folder: Path | None,
    manifest: Manifest,
    progress: Progress,
    first: FirstBatch | None = None,
) -> Checkpoint:
    """Count the activations of a shard's samples.

    Args:
        counting: The settings of the pass.
        stream: All chosen samples.
        shard: The part of them to count.
        folder: The run directory. The pass saves a checkpoint there every 20 s and when it is interrupted, and
            continues from a checkpoint of the same work. None saves nothing.
        manifest: Identifies the work.
        progress: Displays the progress.
        first: The first batch's statistics, if known.

    Returns:
        The counts.

    Raises:
        BadInput: An activation is not finite; the message names tensor and sample.
    """
    session = counting.session(threads=1)
    runner, ready = Runner(session), None
    if first is None:
        first, ready = look_at_first_batch(counting, runner, stream)
    count, threads = division(first.size, counting.cores or usable_cores())
    if threads > 1:
        session = counting.session(threads)
        runner, ready = Runner(session), None
    axes = channel_axes(Graph(counting.model.graph_only.graph))
    samples, names = len(stream.indices), stream.dataset.names
    runners = [runner, *(Runner(session) for _ in range(count - 1))]
    moments = MomentsCollector(counting.layers(), first.maxima, samples, session.clamps)
    workers = [Worker(runner, first, samples, axes, names, threads, counting.excluded, moments) for runner in runners]

    partial = folder / PARTIAL if folder else None
    positions = shard.positions(samples, counting.step)
    earlier = resumable(partial, manifest, len(positions)) if partial else None
    work = _Pass(stream, positions, workers, moments, earlier, partial, manifest)
    # Each worker has a core of its own; the threads of a matrix product would wait for those of the others.
    with (
        threadpool_limits(1, user_api="blas"),
        progress("calibrating", len(work.positions), "images", work.done) as advance,
    ):
        work.run(counting.step, advance, ready)
    found = work.checkpoint()
    return found.ordered(session.names)


class _Pass:
    """The state of a pass: its position and its counts."""

    def __init__(
        self,
        stream: Stream,
        positions: Sequence[int],
        workers: Sequence[Worker],
        moments: MomentsCollector,
        earlier: Checkpoint | None,
        folder: Path | None,
        manifest: Manifest,
    ) -> None:
        self.positions = positions
        # The number of finished positions, including those of unreadable samples, and the number of counted samples.
        # They are one tuple, so that an interruption finds both old or both new.
        self._behind = (earlier.done, earlier.counted) if earlier else (0, 0)
        self._stream = stream
        self._workers = workers
        self._moments = moments
        self._earlier = earlier
        self._folder = folder
        self._manifest = manifest
        self._pending: deque[_Task] = deque()
        self._saved = time.monotonic()
        if earlier:
            stream.resume(earlier.digests, earlier.skipped)

    @property
    def done(self) -> int:
        """The number of finished positions."""
        return self._behind[0]

    def run(self, step: int, advance: Callable[[int], None], ready: tuple[Group, Activations] | None) -> None:
        """Count all remaining samples; if interrupted at any moment, save a checkpoint.

        Args:
            step: The number of samples in one run of the model.
            advance: Called with the number of positions just finished.
            ready: A group whose activations are still in the first worker's memory, and need not be computed again.
        """
        positions = self.positions[self.done :]
        if ready and [s.position for s in ready[0].samples] != positions[: len(ready[0].samples)]:
            ready = None  # it belongs to another shard, or was counted before an interruption
        idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers[1:] if ready else self._workers:
            idle.put(worker)

        def count(task: _Task) -> None:
            task.begun = True
            worker = task.worker or idle.get()
            try:
                worker.count(task.group, task.activations)
                task.counted = True
            finally:  # others wait for the worker, even if its counts are useless now
                idle.put(worker)

        with ThreadPoolExecutor(len(self._workers), thread_name_prefix="run") as pool:
            try:
                if ready:
                    self._hand_over(pool, count, _Task(*ready, self._workers[0]))
                    positions = positions[len(ready[0].samples) :]
                for group in Group.of(self._stream.samples(positions), step, self._stream.axes):
                    while len(self._pending) > len(self._workers):
                        self._settle(advance)
                    self._hand_over(pool, count, _Task(group))
                    if self._folder and time.monotonic() - self._saved > CHECKPOINT_SECONDS:
                        self._drain(advance)
                        self._save()
                self._drain(advance)
            except QuantkitError:  # bad input would stop the next attempt, too
                raise
            except BaseException:
                pool.shutdown()  # now every submitted task has finished or failed
                if all(task.counted or not task.begun for task in self._pending):
                    for task in self._pending:
                        if task.counted:
                            self._note(task.group)
                    self._pending.clear()
                    self._save()
                raise

    def checkpoint(self) -> Checkpoint:
        """Return the counts so far. Must not be called while tasks are pending."""
        parts = [worker.collected() for worker in self._workers]
        parts.append(Collected({}, {}, {}, self._moments.collected()))
        not_finite = frozenset[str]().union(*(worker.not_finite for worker in self._workers))
        masked = frozenset[str]().union(*(worker.masked for worker in self._workers))
        if self._earlier:
            parts.append(self._earlier.collected)
            not_finite, masked = not_finite | self._earlier.not_finite, masked | self._earlier.masked
        return Checkpoint(
            reduce(Collected.merged, parts),
            *self._behind,
            self._stream.digests(),
            dict(self._stream.skipped),
            not_finite,
            masked,
        )

    def _hand_over(self, pool: ThreadPoolExecutor, count: Callable[[_Task], None], task: _Task) -> None:
        self._pending.append(task)
        task.future = pool.submit(count, task)

    def _settle(self, advance: Callable[[int], None]) -> None:
        task = self._pending[0]
        assert task.future is not None
        task.future.result()
        before = self.done
        self._note(task.group)
        self._pending.popleft()
        advance(self.done - before)

    def _note(self, group: Group) -> None:
        """Record that the group is counted; recording it twice changes nothing."""
        done = bisect_right(self.positions, group.samples[-1].position)
        if done > self.done:
            self._behind = (done, self._behind[1] + len(group.samples))

    def _drain(self, advance: Callable[[int], None]) -> None:
        while self._pending:
            self._settle(advance)

    def _save(self) -> None:
        if self._folder and self._behind[1]:
            self.checkpoint().save(self._folder, self._manifest)
        self._saved = time.monotonic()


@dataclass(eq=False)
class _Task:
    """A group that a worker processes.

    The worker records its own progress, because an interruption can stop the main thread at any point.
    """

    group: Group
    activations: Activations | None = None  # computed already, in the memory of ``worker``
    worker: Worker | None = None
    future: Future[None] | None = None
    begun: bool = False
    counted: bool = False
