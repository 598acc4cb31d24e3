"""What models are for: what an annotation is, how outputs become answers, which metrics there are.

One file a task; nothing outside this package knows a task's metrics by name.
May import ``core``, ``graph``, ``datasets`` and ``measure``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points

from quantkit.core.errors import BadConfig
from quantkit.core.figures import Metric
from quantkit.graph.model_file import ModelInput
from quantkit.tasks.base import Caption, Kept, Outputs, Result, Scorer, Task
from quantkit.tasks.classification import Classification, may_score_classes
from quantkit.tasks.fidelity import Fidelity

ENTRY_POINT_GROUP = "quantkit.tasks"
AUTO = "auto"
TASKS: dict[str, type[Task]] = {"classification": Classification, "none": Fidelity}


def task_named(name: str) -> Task:
    """A built-in task, or one installed under ``quantkit.tasks``. Raises BadConfig for none, or one that fails."""
    if name in TASKS:
        return TASKS[name]()
    installed = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in installed:
        raise BadConfig(f"There is no task {name!r}.", f"Choose one of: {', '.join([AUTO, *TASKS, *installed])}.")
    try:
        task: Task = installed[name].load()()
    except Exception as error:
        raise BadConfig(
            f"The task {name!r} ({installed[name].value}) does not load: {error}.", "Fix or uninstall its package."
        ) from error
    return task


def task_for(name: str, outputs: Sequence[ModelInput]) -> Task:
    """The task of this name; "auto" is classification where the first output can be class scores, else none."""
    if name != AUTO:
        return task_named(name)
    return Classification() if may_score_classes(outputs) else Fidelity()


def known_metrics() -> dict[str, Metric]:
    """The metrics of the built-in tasks by name, for rules that are read before anything is measured."""
    return {metric.name: metric for task in TASKS.values() for metric in task.metrics}


__all__ = [
    "TASKS",
    "Caption",
    "Kept",
    "Metric",
    "Outputs",
    "Result",
    "Scorer",
    "Task",
    "known_metrics",
    "task_for",
    "task_named",
]
