"""One pass over the calibration data: histograms of every activation, with checkpoints."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from quantkit.calibrators import Collector
from quantkit.calibrators.collect import NotFinite
from quantkit.core.errors import BadInput, QuantkitError
from quantkit.core.files import atomic_folder, write_text
from quantkit.core.histogram import HISTOGRAMS_FILE, Histogram, load_histograms, save_histograms
from quantkit.core.progress import Progress
from quantkit.datasets import Batch, Stream
from quantkit.model.activations import ActivationSession
from quantkit.model.file import ModelFile
from quantkit.pipeline.run_directory import MANIFEST_FILE, PARTIAL, Manifest, read_manifest

POSITION_FILE = "position.json"
CHECKPOINT_SECONDS = 20
log = logging.getLogger("quantkit")


def collect(
    model: ModelFile,
    stream: Stream,
    first_batch: int,
    keep: Callable[[str], bool],
    folder: Path | None,
    manifest: Manifest,
    progress: Progress,
) -> tuple[dict[str, Histogram], int]:
    """Histograms of the activations that ``keep`` wants, and how many samples were counted.

    ``first_batch`` samples fix the bin widths. In ``folder`` the pass leaves a checkpoint every 20 s and when it is
    interrupted, and goes on from one of the same work (``manifest``). Raises BadInput, naming tensor and sample, when
    an activation is not finite.
    """
    session = ActivationSession(model, keep)
    step = model.fixed_batch or 1
    usable = len(stream.indices) - len(stream.indices) % step
    if usable == 0:
        raise BadInput(
            f"The model's batch size is fixed at {step}, but there are only {len(stream.indices)} samples.",
            f"Give at least {step} samples, or export the model with a dynamic batch.",
        )
    if usable < len(stream.indices):
        log.warning(
            "The model's batch size is fixed at %d: the last %d samples are left out.",
            step,
            len(stream.indices) - usable,
        )
    counting = _Counting(stream, folder / PARTIAL if folder else None, manifest)
    counting.resume()
    with progress("calibrating", usable, "images", counting.position) as advance:
        if not counting.primed:
            for number, batch in enumerate(islice(stream.batches(step), -(-first_batch // step))):
                activations = session.run(batch.inputs)
                wanted = first_batch - number * step  # a model of fixed batch may run more than the first batch has
                rows = {name: a[:wanted] if a.ndim and len(a) == step else a for name, a in activations.items()}
                counting.guard(batch, counting.collector.prime, rows)
        with ThreadPoolExecutor(1, thread_name_prefix="count") as pool:
            pending: Future[None] | None = None
            try:
                for batch in stream.batches(step, counting.position):
                    if len(batch.indices) < step:
                        break
                    activations = session.run(batch.inputs)  # overlaps with counting the batch before
                    if pending is not None:
                        pending.result()
                    pending = pool.submit(counting.count, batch, activations)
                    advance(len(batch.indices))
                if pending is not None:
                    pending.result()
            except BaseException as error:
                if pending is not None:
                    pending.exception()
                if not isinstance(error, QuantkitError):  # bad input would stop the next attempt too
                    counting.checkpoint()
                raise
    if not counting.counted:
        raise BadInput(f"No sample of {stream.dataset.source} could be read.", "Check the files.")
    return counting.collector.histograms(), counting.counted


def forget_checkpoint(folder: Path) -> None:
    """Remove what an interrupted pass left."""
    shutil.rmtree(folder / PARTIAL, ignore_errors=True)


class _Counting:
    """The collector and how far it has come."""

    def __init__(self, stream: Stream, folder: Path | None, manifest: Manifest) -> None:
        self.stream = stream
        self.folder = folder
        self.manifest = manifest
        self.collector = Collector()
        self.position = 0  # samples of the stream's choice that are done with, skipped ones included
        self.counted = 0
        self.primed = False
        self._saved = time.monotonic()

    def count(self, batch: Batch, activations: Mapping[str, Any]) -> None:
        self.guard(batch, self.collector.observe, activations)
        self.counted += len(batch.indices)
        self.position = self.stream.indices.index(batch.indices[-1], self.position) + 1
        if time.monotonic() - self._saved > CHECKPOINT_SECONDS:
            self.checkpoint()

    def guard(self, batch: Batch, use: Callable[[Mapping[str, Any]], None], activations: Mapping[str, Any]) -> None:
        try:
            use(activations)
        except NotFinite as error:
            array = activations[error.tensor]
            sample = 0
            if array.ndim and len(array) == len(batch.indices):
                sample = int(np.argmin(np.isfinite(array.reshape(len(array), -1)).all(axis=1)))
            name = self.stream.dataset.names[batch.indices[sample]]
            raise BadInput(
                f"The tensor {error.tensor!r} holds {error.value} for {name}.",
                "Check that image and the preprocessing, or leave the tensor out with --exclude.",
            ) from error

    def checkpoint(self) -> None:
        if self.folder is None or not self.counted:
            return
        with atomic_folder(self.folder) as temporary:
            save_histograms(temporary / HISTOGRAMS_FILE, self.collector.histograms())
            note = {
                "position": self.position,
                "counted": self.counted,
                "digests": self.stream.digests()[: self.position],
                "skipped": dict(self.stream.skipped),
            }
            write_text(temporary / POSITION_FILE, json.dumps(note))
            write_text(temporary / MANIFEST_FILE, self.manifest.model_dump_json())
        self._saved = time.monotonic()

    def resume(self) -> None:
        earlier = read_manifest(self.folder) if self.folder else None
        if self.folder is None or earlier is None or not earlier.same_work(self.manifest):
            return
        try:
            note = json.loads((self.folder / POSITION_FILE).read_text(encoding="utf-8"))
            histograms = load_histograms(self.folder / HISTOGRAMS_FILE)
            skipped = {int(index): str(why) for index, why in note["skipped"].items()}
            position, counted = int(note["position"]), int(note["counted"])
            self.stream.resume(note["digests"], skipped)
        except (OSError, ValueError, KeyError, TypeError, BadInput):
            return  # a damaged checkpoint is worth no more than none
        self.collector.restore(histograms)
        self.position, self.counted, self.primed = position, counted, True
