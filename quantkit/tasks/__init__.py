"""The tasks of models: each defines annotations, answers and metrics.

One module or package per task; nothing outside this package knows a task's metrics by name.
May import ``core``, ``graph``, ``datasets`` and ``measure``.
"""

from __future__ import annotations

from quantkit.core.errors import BadConfig
from quantkit.core.extensions import installed, loaded
from quantkit.core.figures import Metric
from quantkit.core.references import is_reference, load_reference
from quantkit.core.wording import choice_of
from quantkit.tasks.base import Caption, Kept, Outputs, Result, Scorer, Task, TaskSettings
from quantkit.tasks.class_outputs import Decision
from quantkit.tasks.classification import Classification
from quantkit.tasks.ctc import Ctc
from quantkit.tasks.detection import Detection
from quantkit.tasks.embedding import Embedding
from quantkit.tasks.fidelity import Fidelity
from quantkit.tasks.regression import Regression
from quantkit.tasks.segmentation import Segmentation

ENTRY_POINT_GROUP = "quantkit.tasks"
AUTO = "auto"
TASKS: dict[str, type[Task]] = {
    "classification": Classification,
    "detection": Detection,
    "segmentation": Segmentation,
    "embedding": Embedding,
    "regression": Regression,
    "ctc": Ctc,
    "none": Fidelity,
}


def task_named(name: str) -> Task:
    """Make a built-in or installed task by name, or that of ``file.py:name``. Raises BadConfig if there is none."""
    if name in TASKS:
        return TASKS[name]()
    if is_reference(name):
        own = load_reference(name, "task")
        return _complete(own() if isinstance(own, type) else own, name, "Add it.")
    found = installed(ENTRY_POINT_GROUP)
    if name not in found:
        raise BadConfig(f"There is no task {name!r}.", choice_of(name, [AUTO, *TASKS, *found]))
    return _complete(loaded(found[name], "task", make=True), f"{name} ({found[name].value})", "Fix its package.")


def _complete(task: Task, called: str, hint: str) -> Task:
    """Return a task of the user's. Raises BadConfig if it lacks what every task has."""
    lacking = [part for part in ("name", "metrics") if not hasattr(task, part)]
    if lacking:
        raise BadConfig(f"The task {called} has no {lacking[0]}.", hint)
    return task


def known_metrics() -> dict[str, Metric]:
    """Return the metrics of the built-in tasks by name, for rules that are read before anything is measured."""
    return {metric.name: metric for task in TASKS.values() for metric in task.metrics}


__all__ = [
    "TASKS",
    "Caption",
    "Decision",
    "Kept",
    "Metric",
    "Outputs",
    "Result",
    "Scorer",
    "Task",
    "TaskSettings",
    "known_metrics",
    "task_named",
]
