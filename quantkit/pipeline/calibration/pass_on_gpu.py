"""One pass over the calibration data on a GPU: the model runs on batches, and its activations are counted there."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from quantkit.calibrators.collect import NotFinite, first_widths
from quantkit.calibrators.count_on_gpu import SOURCE, GpuCollector, extremes_of, part_of
from quantkit.calibrators.moments import MomentsCollector
from quantkit.calibrators.moments_on_gpu import GpuMoments
from quantkit.core.cuda import Kernels, OnGpu, free_memory, select
from quantkit.core.errors import BadData, QuantkitError
from quantkit.core.progress import Progress
from quantkit.core.shard import Shard
from quantkit.datasets import Stream
from quantkit.graph.channel_axes import channel_axes
from quantkit.graph.graph import Graph
from quantkit.pipeline.calibration.checkpoint import Checkpoint, resumable
from quantkit.pipeline.calibration.one_pass import CHECKPOINT_SECONDS, Counting
from quantkit.pipeline.calibration.workers import FirstBatch, Group, finite
from quantkit.pipeline.manifest import Manifest
from quantkit.pipeline.run_directory import PARTIAL
from quantkit.runtime.activations import ActivationSession
from quantkit.runtime.on_gpu import GpuRunner

LARGEST_BATCH = 64
SHARE_OF_MEMORY = 0.125  # of the GPU's free memory, for the activations of one run
MOST_MEMORY = 4 << 30
log = logging.getLogger("quantkit")


def collect_on_gpu(
    counting: Counting,
    stream: Stream,
    shard: Shard,
    folder: Path | None,
    manifest: Manifest,
    progress: Progress,
    device: str,
) -> Checkpoint:
    """Count the activations of a shard's samples on a GPU; see :func:`~quantkit.pipeline.calibration.one_pass.collect`.

    Args:
        counting: The settings of the pass.
        stream: All chosen samples.
        shard: The part of them to count.
        folder: The run directory, for checkpoints; None saves nothing.
        manifest: Identifies the work.
        progress: Displays the progress.
        device: The GPU, such as ``cuda:0``.

    Returns:
        The counts.

    Raises:
        BadInput: An activation is not finite; the message names tensor and sample.
        BackendMissing: The GPU, or what using it needs, is not there.
    """
    number = select(device)
    session = ActivationSession(counting.model, counting.keep, None, counting.excluded, gpu=number)
    counting.model.check_unchanged()
    work = _Pass(counting, stream, session, GpuRunner(session, number), folder, manifest)
    positions = shard.positions(len(stream.indices), counting.step)
    work.resume(positions)
    with progress("calibrating", len(positions), "images", work.done) as advance:
        try:
            for group in Group.of(stream.samples(positions[work.done :]), work.step, stream.axes):
                before = work.done
                work.count(group, positions)
                advance(work.done - before)
        except QuantkitError:  # bad input would stop the next attempt, too
            raise
        except BaseException:
            work.save()
            raise
        work.done = len(positions)
    return work.checkpoint().ordered(session.names)


class _Pass:
    """The state of a pass: its position and its counts."""

    def __init__(
        self,
        counting: Counting,
        stream: Stream,
        session: ActivationSession,
        runner: GpuRunner,
        folder: Path | None,
        manifest: Manifest,
    ) -> None:
        self.done = self._counted = 0
        self._counting, self._stream, self._runner, self._manifest = counting, stream, runner, manifest
        self._partial = folder / PARTIAL if folder else None
        self._earlier: Checkpoint | None = None
        self._kernels = Kernels(SOURCE)
        self.step = self._batch()
        samples = len(stream.indices)
        first = self._first_batch()
        axes = channel_axes(Graph(counting.model.graph_only.graph))
        self._collector = GpuCollector(
            self._kernels, first_widths(first.maxima), samples, axes, session.clamps, first.masked, counting.excluded
        )
        moments = MomentsCollector(counting.layers(), first.maxima, samples, session.clamps)
        self._moments = GpuMoments(self._kernels, moments, session.clamps)
        self._saved = time.monotonic()

    def resume(self, positions: Sequence[int]) -> None:
        """Go on from a checkpoint of the same work, if there is one."""
        earlier = resumable(self._partial, self._manifest, len(positions)) if self._partial else None
        if earlier:
            self._earlier, self.done, self._counted = earlier, earlier.done, earlier.counted
            self._stream.resume(earlier.digests, earlier.skipped)

    def count(self, group: Group, positions: Sequence[int]) -> None:
        """Run the model on a group, and count its activations."""
        own, rows = [sample.position for sample in group.samples], self._rows(group)
        activations = self._runner.run(group.inputs)
        if 1 < rows != len(own):  # without the rows that only fill up the run
            filled = {name: tensor for name, tensor in activations.items() if tensor.shape[:1] == (rows,)}
            activations |= {n: replace(t, shape=(len(own), *t.shape[1:])) for n, t in filled.items()}
            rows = len(own)
        try:
            self._collector.observe(activations, own, rows)
        except NotFinite as error:
            with finite(group.samples[min(error.row, len(own) - 1)], self._stream.dataset.names):
                raise
        left_out = self._collector.masked | self._collector.not_finite
        self._moments.observe(activations, own[0], len(own), left_out)
        self._counted += len(own)
        while self.done < len(positions) and positions[self.done] <= own[-1]:
            self.done += 1
        if time.monotonic() - self._saved > CHECKPOINT_SECONDS:
            self.save()

    def checkpoint(self) -> Checkpoint:
        """Return the counts so far."""
        collected = replace(self._collector.collected(), moments=self._moments.collected())
        not_finite, masked = frozenset(self._collector.not_finite), frozenset(self._collector.masked)
        if self._earlier:
            collected = collected.merged(self._earlier.collected)
            not_finite, masked = not_finite | self._earlier.not_finite, masked | self._earlier.masked
        skipped = dict(self._stream.skipped)
        return Checkpoint(collected, self.done, self._counted, self._stream.digests(), skipped, not_finite, masked)

    def save(self) -> None:
        """Save a checkpoint."""
        if self._partial and self._counted:
            self.checkpoint().save(self._partial, self._manifest)
        self._saved = time.monotonic()

    def _rows(self, group: Group) -> int:
        """Return the number of rows that a tensor has if it has one for each sample of a run; 1 if none has."""
        return len(next(iter(group.inputs.values()))) if self.step > 1 and group.first_axis else 1

    def _groups(self, count: int, step: int) -> Iterable[Group]:
        """Return the groups of the first samples, so many of which can be read."""
        left = count
        for group in Group.of(self._stream.samples(range(len(self._stream.indices))), step, self._stream.axes):
            yield group
            left -= len(group.samples)
            if left <= 0:
                return

    def _batch(self) -> int:
        """Return how many samples to run at once: the model's fixed batch, or as many as fit.

        All activations must have a row for each sample, or they could not be told apart.
        """
        if self._counting.model.fixed_batch or not all(axis == 0 for axis in self._stream.axes.values()):
            return self._counting.step
        group = next(iter(self._groups(1, 1)), None)
        if group is None:
            raise BadData(f"No sample of {self._stream.dataset.source} could be read.", "Check the files.")
        one = {name: tensor.shape for name, tensor in self._runner.run(group.inputs).items()}
        size = 4 * sum(map(math.prod, one.values()))
        room = min(free_memory() * SHARE_OF_MEMORY, MOST_MEMORY)
        step = min(LARGEST_BATCH, int(room // max(size, 1)), len(self._stream.indices))
        if step < 2:
            return 1
        for group in self._groups(1, step):
            rows = len(group.samples)
            try:
                found = {name: tensor.shape for name, tensor in self._runner.run(group.inputs).items()}
            except QuantkitError:
                return 1
            if rows > 1 and all(own == (rows, *one[name][1:]) and one[name][:1] == (1,) for name, own in found.items()):
                return step
        log.info("The model's activations have no row for each sample, so it runs on one at a time.")
        return 1

    def _first_batch(self) -> FirstBatch:
        """Return the first batch's maxima. Raises BadData if one is not finite."""
        maxima: dict[str, float] = {}
        masked: set[str] = set()
        left = self._counting.first_batch
        of_source = {clamp.name: clamp for clamp in self._runner.clamps}
        runs = 0
        for group in self._groups(left, self.step):
            tensors = {n: t for n, t in self._runner.run(group.inputs).items() if 0 not in t.shape}
            runs += 1
            count = min(left, len(group.samples))
            lows, highs = self._ends(tensors, count, self._rows(group))
            for name in tensors:
                row = _bad_row(lows[name], highs[name])
                if row is not None and not self._counting.excluded(name):
                    value = math.nan if math.isnan(lows[name][row]) else math.inf
                    with finite(group.samples[min(row, count - 1)], self._stream.dataset.names):
                        raise NotFinite(name, value, row)
            ends = {name: (min(lows[name]), max(highs[name])) for name in tensors}
            for name, clamp in of_source.items():
                if clamp.source in ends:
                    ends[name] = clamp(ends[clamp.source][0]), clamp(ends[clamp.source][1])
            for name, (low, high) in ends.items():
                if self._counting.excluded(name) and not (math.isfinite(low) and math.isfinite(high)):
                    maxima.setdefault(name, 0.0)
                elif low == -math.inf:
                    masked.add(name)
                else:
                    maxima[name] = max(maxima.get(name, 0.0), -low, high)
            left -= count
        if not runs:
            raise BadData(f"No sample of {self._stream.dataset.source} could be read.", "Check the files.")
        return FirstBatch(maxima, 0, frozenset(masked), runs)

    def _ends(
        self, tensors: dict[str, OnGpu], count: int, rows: int
    ) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
        """Return the least and the largest value of each tensor in each of the first samples."""
        parts = [
            part_of(name, tensor, count, rows > 1 and tensor.shape[:1] == (rows,)) for name, tensor in tensors.items()
        ]
        found = extremes_of(self._kernels, parts)
        lows = {part.name: own.low.min(axis=1).tolist() for part, own in zip(parts, found, strict=True)}
        return lows, {part.name: own.high.max(axis=1).tolist() for part, own in zip(parts, found, strict=True)}


def _bad_row(lows: Sequence[float], highs: Sequence[float]) -> int | None:
    """Return the first sample with NaN or +Inf."""
    ends = zip(lows, highs, strict=True)
    return next((row for row, (low, high) in enumerate(ends) if math.isnan(low) or high == math.inf), None)
