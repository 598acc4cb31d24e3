"""What tuning tried, what each step bought, and what it chose: the contents of ``tune.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from quantkit.core.comparison import Environment, Interval, Share
from quantkit.core.record import Record

TUNE_FILE = "tune.json"
Kind = Literal["drop", "sqnr", "agreement", "within", "speed"]


class Goal(Record):
    """What tuning is to reach.

    Attributes:
        kind: "drop" (the main metric may be so much worse than FP32's), "sqnr" (dB of the worst output), "agreement"
            (share of answers equal to FP32's), "within" (the main metric may be so much worse than FP16's, relative to
            it), or "speed" (as many dB as ``slowdown`` allows).
        bound: The bound: a share for "drop", "agreement" and "within", dB for "sqnr".
        slowdown: How much slower than the run's own INT8 the result may be, as a share; None for any.
    """

    kind: Kind
    bound: float = 0.0
    slowdown: float | None = None

    @property
    def text(self) -> str:
        """The goal in words."""
        words = {
            "drop": f"a drop of at most {100 * self.bound:g} points",
            "sqnr": f"an SQNR of at least {self.bound:g} dB",
            "agreement": f"an agreement of at least {100 * self.bound:g} %",
            "within": f"at most {100 * self.bound:g} % below FP16",
            "speed": "as many dB as possible",
        }[self.kind]
        if self.slowdown is None:
            return words
        return f"{words}, at most {100 * self.slowdown:g} % slower than the default INT8"


class Measured(Record):
    """The figures of one way to quantize the model, on the samples that tuning may look at.

    Attributes:
        sqnr_db: Of the worst output against FP32 in onnxruntime; None if bit-exact, or if nothing could be compared.
        agreement: The share of answers equal to FP32's; None if the task has no answers.
        metric: The task's main metric; None without labels.
        drop: How much worse that is than FP32's; None without labels.
        latency_ms: p50 at the batch size that tuning looks at; None if the target cannot be timed here.
        slowdown: The latency over that of the run's own INT8, less 1, with its 95 % interval from paired rounds.
    """

    sqnr_db: float | None = None
    agreement: Share | None = None
    metric: float | None = None
    drop: float | None = None
    latency_ms: PositiveFloat | None = None
    slowdown: Interval | None = None


class TuneStep(Record):
    """Something that tuning tried.

    Attributes:
        stage: "default", "channels", "ranges", "biases", "alone" (to see what a layer in floating point gives),
            "floating point", or the precision of a row to compare with.
        title: What it is, in words.
        figures: What it gave.
        accepted: True if tuning went on from it.
        floating: How many layers it leaves in floating point.
        seconds: How long it took.
    """

    stage: str
    title: str
    figures: Measured
    accepted: bool = False
    floating: int = 0
    seconds: float = 0.0


class Tuning(Record):
    """The contents of ``tune.json``.

    Attributes:
        run: The run that was tuned.
        target: The target.
        device: The device; empty if nothing could be timed.
        batch: The batch size that latency was measured at.
        goal: What was to be reached.
        met: True if the result meets the goal on the samples that tuning looked at.
        obstacle: What stands in the way if it does not; empty if it does.
        data: The path of the samples.
        tuned_on: How many samples tuning looked at; the first comparison of the result is of the others.
        held_out: How many samples it did not look at.
        steps: What was tried, in order; the first is the run's own INT8.
        chosen: The index of the step that the result is.
        exclude: The wildcards of what stays in floating point.
        ranges: The method of each tensor whose range is another than the run's.
        notes: What else to know, in sentences.
        seed: Of the division of the samples.
        seconds: How long all took.
        environment: The machine and the versions.
        folder: The run directory of the result; None if it is only in memory.
    """

    schema_version: Literal[1] = 1
    run: str
    target: str
    device: str = ""
    batch: PositiveInt = 1
    goal: Goal
    met: bool
    obstacle: str = ""
    data: str
    tuned_on: PositiveInt
    held_out: int
    steps: tuple[TuneStep, ...] = Field(min_length=1)
    chosen: int
    exclude: tuple[str, ...] = ()
    ranges: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seed: int = 0
    seconds: float
    environment: Environment
    folder: Path | None = Field(default=None, exclude=True, repr=False)

    def __repr__(self) -> str:
        return f"Tuning({self.target}, met={self.met}, {len(self.steps)} steps)"

    @model_validator(mode="after")
    def _check(self) -> Tuning:
        if not 0 <= self.chosen < len(self.steps):
            raise ValueError(f"chosen = {self.chosen} of {len(self.steps)} steps")
        return self

    @property
    def result(self) -> TuneStep:
        """The step that was chosen."""
        return self.steps[self.chosen]
