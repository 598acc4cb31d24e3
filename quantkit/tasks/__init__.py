"""The tasks of models: each defines annotations, answers and metrics.

One module per task; nothing outside this package knows a task's metrics by name.
May import ``core``, ``graph``, ``datasets`` and ``measure``.
"""

from __future__ import annotations

from collections.abc import Sequence

from quantkit.core.errors import BadConfig
from quantkit.core.extensions import installed, loaded
from quantkit.core.figures import Metric
from quantkit.graph.model_io import ModelInput
from quantkit.tasks.base import Caption, Kept, Outputs, Result, Scorer, Task
from quantkit.tasks.classification import Classification, may_score_classes
from quantkit.tasks.fidelity import Fidelity

ENTRY_POINT_GROUP = "quantkit.tasks"
AUTO = "auto"
TASKS: dict[str, type[Task]] = {"classification": Classification, "none": Fidelity}


def task_named(name: str) -> Task:
    """Make a built-in or installed task by name. Raises BadConfig if there is none, or if it does not load."""
    if name in TASKS:
        return TASKS[name]()
    found = installed(ENTRY_POINT_GROUP)
    if name not in found:
        raise BadConfig(f"There is no task {name!r}.", f"Choose one of: {', '.join([AUTO, *TASKS, *found])}.")
    task: Task = loaded(found[name], "task", make=True)
    lacking = [part for part in ("name", "metrics") if not hasattr(task, part)]
    if lacking:
        raise BadConfig(f"The task {name!r} ({found[name].value}) has no {lacking[0]}.", "Fix its package.")
    return task


def task_for(name: str, outputs: Sequence[ModelInput]) -> Task:
    """Make the task for a model.

    Args:
        name: The name of the task; "auto" is classification if the first output can be class scores, else "none".
        outputs: The model's outputs.

    Returns:
        The task.

    Raises:
        BadConfig: There is no such task, or it does not load.
    """
    if name != AUTO:
        return task_named(name)
    return Classification() if may_score_classes(outputs) else Fidelity()


def known_metrics() -> dict[str, Metric]:
    """Return the metrics of the built-in tasks by name, for rules that are read before anything is measured."""
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
