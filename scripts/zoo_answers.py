"""What answers a file of the zoo gives, held against those of the user's model: boxes, texts, classes, neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.presets import preset
from quantkit.datasets import open_dataset
from quantkit.graph.model_file import open_model
from quantkit.tasks import Task, TaskSettings
from quantkit.tasks.choice import choose_task
from quantkit.tasks.ctc import Ctc

Outputs = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Answers:
    """What the outputs of a model mean.

    Attributes:
        task: The task by name.
        settings: What it is told.
    """

    task: str
    settings: TaskSettings = field(default_factory=TaskSettings)

    def fitted(self, model: Path, feeds: Sequence[Outputs]) -> Task:
        """Return the task for a model. Raises BadConfig if it does not fit."""
        opened = open_model(model)
        stacked = {name: np.concatenate([feed[name] for feed in feeds[:2]]) for name in feeds[0]}
        dataset = open_dataset(stacked, opened.inputs, preset("raw")).dataset
        return choose_task(self.task, self.settings, opened, dataset)


def scored(
    task: Task, feeds: Sequence[Outputs], expected: Sequence[Outputs], found: Sequence[Outputs]
) -> dict[str, float]:
    """Return the task's figures of one file against the user's model, whose texts are the right ones.

    Args:
        task: The task.
        feeds: The inputs of each run, one sample each.
        expected: The outputs of the user's model.
        found: The outputs of the file.

    Returns:
        The figures by name, with ``agreement`` where there are answers, and for texts the share of right characters,
        ``characters``.
    """
    scorer = task.scorer()
    for feed, its, own in zip(feeds, expected, found, strict=True):
        reference, mine = task.answers(its, feed), task.answers(own, feed)
        if reference is not None and mine is not None:
            scorer.update(mine, reference, reference if isinstance(task, Ctc) else None)
    result = scorer.result()
    figures = {name: interval.value for name, interval in result.metrics.items()}
    figures |= {"characters": 1 - figures["cer"]} if "cer" in figures else {}
    return figures | ({} if result.agreement is None else {"agreement": result.agreement.value})
