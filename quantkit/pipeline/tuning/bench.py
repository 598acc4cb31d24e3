"""Measures recipes on the target: accuracy on samples that tuning may look at, latency beside the run's own INT8."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from quantkit.config import Config
from quantkit.core.artifact import Artifact
from quantkit.core.comparison import Interval, LayerTime
from quantkit.core.errors import BackendMissing, BadInput, TargetRefuses
from quantkit.core.files import digest_of, write_text
from quantkit.core.progress import Progress, silent
from quantkit.core.recipe import Recipe
from quantkit.core.tuning import Measured
from quantkit.datasets import Batch, Stream, Unreadable
from quantkit.graph.model_file import ModelFile
from quantkit.graph.save import MODEL_FILE, save_model
from quantkit.measure.disturbance import speedup_interval
from quantkit.measure.latency import Rounds, schedule
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.comparison.evaluate import evaluate
from quantkit.pipeline.comparison.reference import Reference
from quantkit.pipeline.export import prepare_request
from quantkit.runtime.reference import ReferenceSession
from quantkit.targets import Session, Target
from quantkit.targets.session import DeviceSession, TimedSession
from quantkit.tasks import Task

log = logging.getLogger("quantkit")
ROUNDS, SECONDS = 16, 1.2  # more and shorter rounds than a comparison has: only ratios are wanted
CAREFULLY = 4  # times as many rounds before a step is gone on from: the best of many short measurements is luck, too
LAYER_REPEATS = 20
MEASURED_FILE = "measured.json"
SHARED = "shared"  # the folder of what makes further artifacts faster to prepare


@dataclass(frozen=True)
class Made:
    """A model of the target: its files, loaded. Without a device, the simulation of its Q/DQ model is loaded."""

    artifact: Artifact
    session: Session


@dataclass
class Bench:
    """Measures recipes.

    Attributes:
        config: The effective configuration.
        model: The user's model.
        target: The target.
        device: The device to measure on; empty simulates the target's Q/DQ model in onnxruntime, and measures no time.
        batch: The batch size of latency.
        stream: The samples that tuning may look at.
        task: The task.
        own: The run's own recipe.
        folder: Where artifacts and figures are kept, to go on after an interruption.
        progress: Displays the progress.
    """

    config: Config
    model: ModelFile
    target: Target
    device: str
    batch: int
    stream: Stream
    task: Task
    own: Recipe
    folder: Path
    progress: Progress = silent
    _known: dict[str, Measured] = field(default_factory=dict)
    _first: Batch | None = None

    def __post_init__(self) -> None:
        try:
            kept = json.loads((self.folder / MEASURED_FILE).read_text(encoding="utf-8"))
            self._known = {str(key): Measured.model_validate(own) for key, own in kept.items()}
        except (OSError, ValueError, AttributeError, ValidationError):
            self._known = {}

    def measure(self, recipe: Recipe, precision: str = "int8") -> Measured:
        """Measure a recipe, or find what was measured of it before.

        Raises:
            TargetRefuses: The target cannot express or run it.
            BadInput: The model fails on a sample.
        """
        key = digest_of([self._about, recipe.digest(precision == "int8"), precision])
        if key not in self._known:
            is_own = precision == "int8" and recipe.digest(True) == self.own.digest(True)
            self._keep(key, self._measured(self.own_int8 if is_own else self.made(recipe, precision)))
        return self._known[key]

    def measure_carefully(self, recipe: Recipe) -> Measured:
        """Measure a recipe as :meth:`measure` does, with its latency in more rounds."""
        found = self.measure(recipe)
        if found.slowdown is None or recipe.digest(True) == self.own.digest(True):
            return found
        key = digest_of([self._about, recipe.digest(True), "carefully"])
        if key not in self._known:
            again = self._timed(self.made(recipe).session, CAREFULLY)
            self._keep(key, found.model_copy(update=again))
        return self._known[key]

    def _keep(self, key: str, measured: Measured) -> None:
        self._known[key] = measured
        known = {name: own.model_dump(mode="json") for name, own in self._known.items()}
        write_text(self.folder / MEASURED_FILE, json.dumps(known))

    @cached_property
    def _about(self) -> str:
        """A digest of all that figures depend on besides the recipe, so that no others are taken for them."""
        data, config = self.stream.dataset, self.config
        known = data.annotations
        samples = [
            (index, data.names[index], data.stamp(index), "" if known is None else repr(known[index]))
            for index in self.stream.indices
        ]
        settings = [data.preprocess, config.preprocess, config.task, config.openvino, config.build]
        return digest_of(
            [
                samples,
                [own.model_dump(mode="json") for own in settings],
                config.targets,
                self.task.name,
                [self.target.name, self.target.fingerprint("int8"), self.device, self.batch],
            ]
        )

    def looked_at(self) -> dict[str, int]:
        """Return the digests of the samples that could be read, in hexadecimal, each with its size in bytes."""
        data, found = self.stream.dataset, {}
        for index in self.stream.indices:
            with suppress(Unreadable):
                found[data.digest(index).hex()] = data.size(index)
        return found

    def made(self, recipe: Recipe, precision: str = "int8") -> Made:
        """Make and load a recipe's model."""
        if not self.device:
            return self._simulated(recipe)
        folder = self.folder / digest_of([recipe.digest(precision == "int8"), precision])[:16]
        self.target.reuse(folder / self.target.name, self.folder / SHARED)
        request = prepare_request(self.target, self.model, recipe, folder, [precision], tell_layers="never")
        made = self.target.prepare(request.on(self.device, list(dict.fromkeys((1, self.batch)))))
        self.target.reuse(self.folder / SHARED, folder / self.target.name)
        if not made:
            raise TargetRefuses(f"{self.target.name} has no {precision} here.", "Choose another target.")
        return Made(made[0], self.target.load(made[0], self.device))

    def drop(self, recipe: Recipe) -> None:
        """Remove the files of a recipe that is of no more use."""
        shutil.rmtree(self.folder / digest_of([recipe.digest(True), "int8"])[:16], ignore_errors=True)

    @cached_property
    def own_int8(self) -> Made:
        """The run's own INT8, beside which others are timed."""
        return self.made(self.own)

    def layer_times(self, made: Made) -> tuple[LayerTime, ...]:
        """Return the times of layers; none if the target does not tell."""
        session = made.session
        if not self.device or not isinstance(session, TimedSession | DeviceSession):
            return ()
        try:
            return session.layer_times(self.first.resized(self.batch), LAYER_REPEATS)
        except (BadInput, BackendMissing) as error:
            log.debug("Layers are not timed: %s", error)
            return ()

    @property
    def first(self) -> Batch:
        """Samples to time: of the most common shape as soon as accuracy was measured, else the first batch."""
        if self._first is None:
            self._first = next(self.stream.batches(self.model.fixed_batch or 1))
        return self._first

    @cached_property
    def _reference(self) -> Reference:
        reference = Reference.of(self.model, [])
        for warning in reference.warnings:
            log.warning("%s", warning)
        return reference

    def _simulated(self, recipe: Recipe) -> Made:
        proto = self.target.quantized(self.model.with_weights(recipe.weights), recipe).proto
        with tempfile.TemporaryDirectory(prefix="quantkit-") as folder:
            save_model(proto, Path(folder))
            session = ReferenceSession(Path(folder) / MODEL_FILE, optimized=False)
        return Made(Artifact(self.target.name, "int8", ()), session)

    def _measured(self, made: Made) -> Measured:
        candidate = Candidate(self.target, made.artifact, made.session, self.device, "", self.own, self.folder)
        step = self.model.fixed_batch or 1
        found = evaluate([candidate], self.stream, self.task, (), step, self.progress, self._reference)
        self._first = found.common
        result, main = found.results[candidate.key], next(iter(self.task.metrics), None)
        figure = None if main is None else result.metrics.get(main.name)
        exact = None if main is None else found.reference.metrics.get(main.name)
        drop = None
        if main is not None and figure is not None and exact is not None and not main.of_fp32:
            drop = result.drops.get(main.name, main.loss(exact.value, figure.value))
        timed = self._timed(made.session) if self.device else {}
        return Measured(
            sqnr_db=found.sqnr_db[candidate.key],
            agreement=None if result.agreement is None else result.agreement.value,
            metric=None if figure is None or drop is None else figure.value,
            drop=drop,
            **timed,  # type: ignore[arg-type]
        )

    def _timed(self, session: Session, times: int = 1) -> dict[str, float | Interval]:
        """Time a session in turns with the run's own INT8, in ``times`` as many rounds as usual."""
        own, inputs = self.own_int8.session, self.first.resized(self.batch)
        sessions = [own] if session is own else [own, session]
        plan = schedule(sessions, inputs, times * ROUNDS, times * SECONDS)
        rounds = Rounds(sessions, inputs, plan)
        with self.progress("timing", plan.steps, "rounds") as advance:
            rounds.measure(advance)
        base, new = rounds.timings(self.batch)[0], rounds.timings(self.batch)[-1]
        if session is own:
            return {"latency_ms": base.latency.p50, "slowdown": Interval(value=0.0)}
        found = speedup_interval(new.rounds, base.rounds)
        assert found is not None  # there are ROUNDS of both
        slowdown = Interval(value=found.value - 1, low=(found.low or 1) - 1, high=(found.high or 1) - 1)
        return {"latency_ms": new.latency.p50, "slowdown": slowdown}
