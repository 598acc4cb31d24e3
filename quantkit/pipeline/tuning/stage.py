"""The tuning stage: goes from the run's own INT8 towards a goal, a measured step at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantkit.config import Config
from quantkit.core.errors import BadData, TargetRefuses
from quantkit.core.progress import Progress, silent
from quantkit.core.recipe import Recipe
from quantkit.core.tuning import Goal
from quantkit.datasets import OpenedData, Stream
from quantkit.datasets.base import class_indices
from quantkit.datasets.select import balanced_choice
from quantkit.datasets.texts import Half
from quantkit.pipeline.comparison.stage import open_evaluation_data
from quantkit.pipeline.export import calibrated_model
from quantkit.pipeline.sensitivity.stage import simulated_target
from quantkit.pipeline.tuning.bench import Bench
from quantkit.pipeline.tuning.result import Result
from quantkit.pipeline.tuning.search import FLOATS, Search
from quantkit.targets.base import canonical_device

log = logging.getLogger("quantkit")
FEWEST, MOST = 50, 500  # samples: to be divided at all; to tune on
DEFAULT_BUDGET = 20 * 60.0  # seconds


@dataclass(frozen=True)
class TuneRequest:
    """What to tune for.

    Attributes:
        goal: The goal; None takes one by what can be measured.
        target: The target; None takes the run's first that works.
        budget: The seconds that may be spent on trying.
        data: A Python object with samples, instead of ``[data] evaluation``.
    """

    goal: Goal | None = None
    target: str | None = None
    budget: float = DEFAULT_BUDGET
    data: Any = None


def search(config: Config, recipe: Recipe, request: TuneRequest, folder: Path, progress: Progress = silent) -> Result:
    """Find a better recipe.

    Args:
        config: The effective configuration.
        recipe: The run's own recipe.
        request: What to tune for.
        folder: Where artifacts and figures are kept while tuning, and found again.
        progress: Displays the progress.

    Returns:
        The recipe that was chosen, and what was tried.

    Raises:
        BadInput: The model, the data or a setting is wrong, or there are too few samples.
        BackendMissing: The target's library is not installed.
    """
    begun = time.monotonic()
    model = calibrated_model(recipe.calibration)
    target = simulated_target(config, request.target)
    opened, task = open_evaluation_data(config, model, request.data)
    tuned_on, held_out = divided(opened, config.data.seed)
    device = _device(config, target)
    notes = [f"Tuned on {len(tuned_on)} of {len(tuned_on) + len(held_out)} samples; the others are reported."]
    if not device:
        notes.append(f"{target.name} cannot be timed here: tuned for accuracy alone, in a simulation of its INT8.")
    batch = model.fixed_batch or config.compare.batch_sizes[0]
    stream = Stream(opened.dataset, tuned_on, model.batch_axes)
    bench = Bench(config, model, target, device, batch, stream, task, recipe, folder, progress)
    state = Search(bench, recipe, begun + request.budget, progress, notes)
    state.set_goal(request.goal, task, opened)
    state.compare_with_half()
    log.info("Goal: %s, on %s.", state.judge.goal.text, target.name)
    state.start()
    stages = {
        "equalized sums": state.channels,
        "ranges": state.ranges,
        "biases": state.biases,
        FLOATS: state.floats,
        "biases once more": state.biases_again,
    }
    for title, stage in stages.items():
        if state.done or (state.accurate and title != FLOATS):  # only layers in floating point make it faster
            continue
        if state.time_left < 0:
            state.notes.append(f"There was no time left for {title}: give a larger budget.")
            continue
        try:
            stage()
        except TargetRefuses as refusal:
            state.notes.append(f"No {title} were tried: {refusal}")
    model.check_unchanged()
    return state.result(opened, len(held_out), config.data.seed, time.monotonic() - begun)


def divided(opened: OpenedData, seed: int) -> tuple[list[int], list[int]]:
    """Divide samples into those to tune on and those to report, half each, by a seeded choice with classes in turn.

    Texts of a pair stay together. Raises BadData if there are too few samples.
    """
    annotations = opened.dataset.annotations
    classes = class_indices(annotations)
    chosen = None if classes is None else classes[opened.indices]
    indices = [int(index) for index in opened.indices[balanced_choice(chosen, len(opened.indices), None, seed)]]
    if any(isinstance(own, Half) for own in annotations or ()):
        indices = _pairs_together(indices, annotations or ())
    if len(indices) < FEWEST:
        raise BadData(
            f"{len(indices)} samples of {opened.location} are too few to tune on a half of them.",
            f"Give {FEWEST} or more; 500 tell a drop of 1 point from chance.",
        )
    half = min(len(indices) // 2, MOST)
    return indices[:half], indices[half:]


def _pairs_together(indices: Sequence[int], annotations: Sequence[Any]) -> list[int]:
    """Return samples in the same order, but with the second text of each pair right behind the first."""
    places: dict[int, int] = {}
    order = {}
    for place, index in enumerate(indices):
        own = annotations[index]
        order[index] = places.setdefault(own.pair, place) if isinstance(own, Half) else place
    return sorted(indices, key=order.__getitem__)


def _device(config: Config, target: Any) -> str:
    """Return the device to measure on; empty if the target does not run here."""
    devices = target.devices() if target.availability().works else ()
    return canonical_device(next(iter(config.compare.device), devices[0])) if devices else ""
