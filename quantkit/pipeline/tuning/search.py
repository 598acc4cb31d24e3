"""The search of tuning: what is tried, one stage after the other, and what is gone on from."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from quantkit.core.errors import BackendMissing, BadInput
from quantkit.core.progress import Progress
from quantkit.core.recipe import Recipe
from quantkit.core.tuning import Goal, Measured, TuneStep, Tuning
from quantkit.core.wildcards import literal
from quantkit.datasets import OpenedData, Stream
from quantkit.measure.environment import environment
from quantkit.pipeline.simulation.simulation import Simulation
from quantkit.pipeline.tuning.bench import Bench
from quantkit.pipeline.tuning.biases import corrected_biases, first_batches
from quantkit.pipeline.tuning.costs import costs_in_ms
from quantkit.pipeline.tuning.floats import Part, parts_of
from quantkit.pipeline.tuning.goals import DEFAULT_AGREEMENT, DEFAULT_DROP, Judge, decibels_of
from quantkit.pipeline.tuning.ranges import tuned_ranges
from quantkit.pipeline.tuning.result import Result
from quantkit.tasks import Task

log = logging.getLogger("quantkit")
SIMULATED, CORRECTED = 48, 100  # samples to simulate with, and to take the means of layers from
DEFAULT_SQNR = 30.0
SHORTLIST, SHARE_ALONE = 8, 0.5  # parts measured alone, by gain and by gain for their time; the share of the time
ALONE, REFUSALS = 8, 6  # parts added one by one before larger steps; refusals in a row that end the search
FLOATS = "layers in floating point"
WORTH = 1.15  # an INT8 that is not so many times faster than FP16 is hardly worth it


@dataclass
class Search:
    """Where the search is, and its steps.

    Attributes:
        bench: Measures recipes.
        own: The run's own recipe.
        deadline: When the time is up, by the monotonic clock.
        progress: Displays the progress.
        notes: What else to know, in sentences.
        steps: What was tried.
        methods: The methods of the tensors whose ranges were changed.
        chosen: The index of the step that the search goes on from.
        half: The figures of FP16; None if they are not known.
        reserved: The seconds that are kept for correcting biases once more at the end.
        current: The recipe that the search goes on from.
        judge: Judges by the goal.
    """

    bench: Bench
    own: Recipe
    deadline: float
    progress: Progress
    notes: list[str]
    steps: list[TuneStep] = field(default_factory=list)
    methods: dict[str, str] = field(default_factory=dict)
    chosen: int = 0
    half: Measured | None = None
    reserved: float = 0.0

    def __post_init__(self) -> None:
        self.current, self.judge = self.own, Judge(Goal(kind="sqnr", bound=DEFAULT_SQNR))

    @property
    def time_left(self) -> float:
        """The seconds that may still be spent on trying."""
        return self.deadline - time.monotonic()

    @property
    def figures(self) -> Measured:
        """The figures of what the search goes on from."""
        return self.steps[self.chosen].figures

    @property
    def accurate(self) -> bool:
        """True if the goal is met."""
        return self.judge.meets(self.figures)

    @property
    def done(self) -> bool:
        """True if the goal is met, and INT8 is worth it beside FP16."""
        return self.accurate and self._over_half() >= WORTH

    def _over_half(self) -> float:
        """Return how many times faster than FP16 INT8 is; a large number if that is not known."""
        half, own = self.half, self.figures
        if half is None or half.latency_ms is None or own.latency_ms is None:
            return math.inf
        if half.slowdown is not None and own.slowdown is not None:  # both beside the same INT8, in turns
            return (1 + half.slowdown.value) / (1 + own.slowdown.value)
        return half.latency_ms / own.latency_ms

    def set_goal(self, goal: Goal | None, task: Task, opened: OpenedData) -> None:
        """Take the goal, or one that can be measured in its place."""
        labelled = opened.dataset.annotations is not None and any(not metric.of_fp32 for metric in task.metrics)
        answers = task.has_answers
        agreement = DEFAULT_AGREEMENT if goal is None else 1 - goal.bound
        goal = goal or Goal(kind="drop", bound=DEFAULT_DROP)
        if goal.kind in ("drop", "within") and not labelled:
            goal = goal.model_copy(update={"kind": "agreement", "bound": agreement})
            self.notes.append("The samples have no labels that the task uses: agreement with FP32 is the goal instead.")
        if goal.kind == "agreement" and not answers:
            goal = goal.model_copy(update={"kind": "sqnr", "bound": DEFAULT_SQNR})
            self.notes.append(f"The model has no known answers: an SQNR of {DEFAULT_SQNR:g} dB is the goal instead.")
        if goal.slowdown is not None and not self.bench.device:
            self.notes.append("How much slower the result is cannot be measured here, and was not limited.")
        self.judge = Judge(goal)

    def compare_with_half(self) -> None:
        """Measure FP16, which INT8 competes with."""
        if not self.bench.device or "fp16" not in self.bench.target.precisions:
            return
        try:
            half = self.bench.measure(self.own, "fp16")
        except (BadInput, BackendMissing) as refusal:
            self.notes.append(f"FP16 is not measured: {refusal}")
            return
        self.half, self.judge = half, Judge(self.judge.goal, half)
        self.steps.append(TuneStep(stage="fp16", title="FP16", figures=half))

    def start(self) -> None:
        """Measure the run's own INT8."""
        self.chosen = len(self.steps)
        self._try("default", "the run's own INT8", self.own, always=True)

    def channels(self) -> None:
        """Before all: channels of sums that are far apart are evened out, which costs no time."""
        recipe = replace(self.current, equalize_sums=True)
        bench = self.bench
        own, other = (bench.target.floating(bench.model, each) for each in (self.current, recipe))
        if own.factors.keys() != other.factors.keys():
            self._try("channels", "channels of sums equalized", recipe)

    def ranges(self) -> None:
        """Stage 1."""
        simulation = Simulation.of(self.bench.model, self.current, self.bench.target)
        stream = self._some(SIMULATED)
        for recipe, methods in tuned_ranges(simulation, self.current, stream, self.bench.model, self.progress):
            title = f"other ranges for {len(methods)} tensor{'s' if len(methods) > 1 else ''}"
            step = self._try("ranges", title, recipe)
            if step is not None and step.accepted:
                self.methods = methods
                return

    def biases_again(self) -> None:
        """After stage 3: with layers in floating point, the means of those behind them are off by something else."""
        if self.current.exclude != self.own.exclude:
            self.biases()

    def biases(self) -> None:
        """Stage 2."""
        begun = time.monotonic()
        step = self.bench.model.fixed_batch or 1
        batches = first_batches(self.bench.stream.batches(step), math.ceil(CORRECTED / step))
        bench = self.bench
        recipe = corrected_biases(bench.target, bench.model, self.current, batches, step, self.progress)
        self._try("biases", "biases corrected on the quantized network", recipe)
        self.reserved = time.monotonic() - begun

    def floats(self) -> None:
        """Stage 3."""
        parts = list(self._parts())
        # With the goal met, time is what is left to gain: first where INT8 is slowest beside floating point.
        waiting = sorted(parts, key=lambda part: part.cost) if self.accurate else self._measured_alone(parts)
        tried, refused, size = 0, 0, 1
        while waiting and refused < REFUSALS and not self.done:
            if self.time_left < self.reserved:
                self.notes.append("The time was up before all layers were tried: give a larger budget.")
                return
            group, waiting = waiting[:size], waiting[size:]
            title = group[0].title if len(group) == 1 else f"{group[0].title} and {len(group) - 1} more"
            step = self._try("floating point", f"{title} in floating point", self._without(group))
            taken = step is not None and step.accepted
            tried, refused = tried + len(group), 0 if taken else refused + 1
            size = 1 if tried < ALONE or not taken else min(2 * size, 16)
            left = set(self.current.exclude)
            waiting = [part for part in waiting if not {literal(name) for name in part.names} <= left]

    def _measured_alone(self, parts: Sequence[Part]) -> list[Part]:
        """Measure the parts that gain most, and those that seem to gain most for their time; return all in order.

        Times of layers tell little of what a lone one costs, for which values have to be converted.
        """
        if not self.bench.device or self.bench.target.reformats:
            return list(parts)
        by_gain = sorted(parts, key=lambda part: -part.gain)
        shortlist = list(dict.fromkeys((*by_gain[:SHORTLIST], *parts[:SHORTLIST])))
        until, start, found = time.monotonic() + self.time_left * SHARE_ALONE, self.figures, []
        for part in shortlist:
            if time.monotonic() > until or self.done:
                break
            step = self._try("alone", f"{part.title} alone in floating point", self._without([part]), alone=True)
            own = None if step is None else step.figures
            if own is not None and own.slowdown is not None and start.slowdown is not None:
                gain = _noise(start) - _noise(own)
                cost = (own.slowdown.value - start.slowdown.value) * (start.latency_ms or 1.0)
                found.append(replace(part, gain=gain / _noise(start), cost=cost))
        known = {part.title for part in found}
        worthy = sorted((part for part in found if part.gain > 0), key=lambda part: -part.worth)
        return [*worthy, *(part for part in parts if part.title not in known)]

    def _without(self, parts: Sequence[Part]) -> Recipe:
        """Return the current recipe with parts in floating point."""
        names = [literal(name) for part in parts for name in part.names]
        return replace(self.current, exclude=tuple(dict.fromkeys((*self.current.exclude, *names))))

    def _parts(self) -> Sequence[Part]:
        bench = self.bench
        simulation = Simulation.of(bench.model, self.current, bench.target)
        graph = bench.target.floating(bench.model, self.current).proto.graph
        costs = [0.0] * len(simulation.units)
        if bench.device:
            floating = "fp16" if "fp32" not in bench.target.precisions else "fp32"
            other = bench.measure(self.own, floating).latency_ms or 0.0
            own = self.figures.latency_ms or 0.0
            int8, exact = bench.layer_times(bench.own_int8), bench.layer_times(bench.made(self.own, floating))
            costs = costs_in_ms(simulation.units, int8, exact, graph, max(other - own, 0.0))
        return parts_of(
            simulation, costs, bench.target.reformats, graph, self._some(SIMULATED), bench.model, self.progress
        )

    def _some(self, count: int) -> Stream:
        whole = self.bench.stream
        return Stream(whole.dataset, whole.indices[:count], whole.axes)

    def _try(
        self, stage: str, title: str, recipe: Recipe, always: bool = False, alone: bool = False
    ) -> TuneStep | None:
        """Measure a recipe, and go on from it if it is better.

        Args:
            stage: The stage.
            title: What it is, in words.
            recipe: The recipe.
            always: Go on from it in any case; the first step.
            alone: Go on from it only if it meets the goal: else it is only to be known what it gives.

        Returns:
            The step; None, with a note, if the target cannot do it.
        """
        begun = time.monotonic()
        try:
            figures = self.bench.measure(recipe)
        except (BadInput, BackendMissing) as refusal:
            if always:
                raise
            self.notes.append(f"Not tried: {title} ({refusal}).")
            return None
        better = always or self._is_gain(figures, alone)
        if better and not always:
            figures = self.bench.measure_carefully(recipe)
            better = self._is_gain(figures, alone)
        left = len(recipe.exclude) - len(self.own.exclude)
        seconds = round(time.monotonic() - begun, 2)
        step = TuneStep(stage=stage, title=title, figures=figures, accepted=better, floating=left, seconds=seconds)
        self.steps.append(step)
        log.info("%s %s: %s", "+" if better else "-", title, described(figures))
        if better:
            self.chosen, self.current = len(self.steps) - 1, recipe
        else:
            self.bench.drop(recipe)
        return step

    def _is_gain(self, own: Measured, alone: bool) -> bool:
        """True for figures to go on from; of a layer ``alone``, for those that meet the goal."""
        if alone and not self.judge.meets(own):
            return False
        # With the goal met, time is what is left to gain.
        return self._is_faster(own) or (not self.accurate and self.judge.is_better(own, self.figures))

    def _is_faster(self, own: Measured) -> bool:
        """True if figures are faster than those so far beyond chance, and no farther from the goal."""
        other = self.figures
        if own.slowdown is None or other.slowdown is None or own.slowdown.high is None:
            return False
        nearer = self.judge.shortfall(own) <= max(self.judge.shortfall(other), 0.0)
        return nearer and decibels_of(own) >= decibels_of(other) - 0.1 and own.slowdown.high < other.slowdown.value

    def result(self, opened: OpenedData, held_out: int, seed: int, seconds: float) -> Result:
        """Return what was found."""
        bench, figures = self.bench, self.figures
        met = self.accurate if self.judge.goal.kind != "speed" else self.judge.fast_enough(figures)
        tuning = Tuning(
            run=str(self.own.calibration.folder or ""),
            target=bench.target.name,
            device=bench.device,
            batch=bench.batch,
            goal=self.judge.goal,
            met=met,
            obstacle="" if met else self._obstacle(),
            data=opened.location,
            tuned_on=len(bench.stream.indices),
            held_out=held_out,
            steps=tuple(self.steps),
            chosen=self.chosen,
            exclude=self.current.exclude,
            ranges=self.methods if self.current.ranges != self.own.ranges else {},
            notes=(*self.notes, *self._unchanged(met), *self._against_half()),
            seed=seed,
            seconds=round(seconds, 2),
            environment=environment(),
        )
        samples = bench.looked_at()
        return Result(self.current, tuning, tuple(samples), tuple(dict.fromkeys(samples.values())))

    def _unchanged(self, met: bool) -> Iterator[str]:
        """Say that the result is what there was, if it is."""
        if met and self.current is self.own:
            yield "The run's own INT8 meets the goal, and nothing that is better was found: the result is the same."

    def _obstacle(self) -> str:
        if not self.judge.fast_enough(self.figures):
            return "nothing that was tried is fast enough"
        if self.time_left < 0:
            return "the time was up"
        return "nothing that was tried comes nearer"

    def _against_half(self) -> Iterator[str]:
        """Say what the result is beside FP16, if that is sound: it may overflow."""
        half, faster = self.half, self._over_half()
        if half is None or faster >= WORTH or self.judge.shortfall(half) > max(self.judge.shortfall(self.figures), 0.0):
            return
        if faster <= 1:
            yield f"FP16 is {1 / faster:.2f}x as fast as the result, and as accurate: INT8 is not worth it here."
        else:
            yield f"The result is {faster:.2f}x as fast as FP16, and nothing that was found is {WORTH}x."


def _noise(figures: Measured) -> float:
    """Return the noise relative to the signal."""
    return float(10 ** (-decibels_of(figures) / 10))


def described(figures: Measured) -> str:
    """Return figures in words."""
    parts = ["bit-exact" if figures.sqnr_db is None else f"{figures.sqnr_db:.1f} dB"]
    if figures.drop is not None:
        parts.append(f"drop {100 * figures.drop:.2f} points")
    if figures.agreement is not None:
        parts.append(f"agreement {100 * figures.agreement:.1f} %")
    if figures.latency_ms is not None and figures.slowdown is not None:
        change = f" ({100 * figures.slowdown.value:+.1f} %)" if figures.slowdown.low is not None else ""
        parts.append(f"{figures.latency_ms:.3g} ms{change}")
    return ", ".join(parts)
