"""The tasks of models: each defines annotations, answers and metrics.

One module or package per task; nothing outside this package knows a task's metrics by name.
May import ``core``, ``graph``, ``datasets`` and ``measure``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantkit.core.errors import BadConfig
from quantkit.core.extensions import installed, loaded
from quantkit.core.figures import Metric
from quantkit.datasets.base import Dataset
from quantkit.datasets.boxes import Boxes
from quantkit.graph.graph import Graph
from quantkit.graph.model_io import ModelInput
from quantkit.tasks.base import Caption, Kept, Outputs, Result, Scorer, Task, TaskSettings
from quantkit.tasks.class_outputs import Decision, certain_decision, checked
from quantkit.tasks.classification import Classification
from quantkit.tasks.ctc import Ctc
from quantkit.tasks.detection import Detection
from quantkit.tasks.detection.choice import says_detection
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


def task_for(
    name: str,
    outputs: Sequence[ModelInput],
    graph: Graph | None = None,
    said: Decision | None = None,
    labelled: bool = False,
) -> Task:
    """Make the task for a model.

    Args:
        name: The name of the task; "auto" is classification if an output certainly holds class scores, or if the user
            says which one does, else "none".
        outputs: The model's outputs.
        graph: The model's graph; without it, shapes and names alone tell what outputs hold.
        said: Which output decides, if the user says so.
        labelled: True if the samples are labelled with class indices.

    Returns:
        The task.

    Raises:
        BadConfig: There is no such task, it does not load, or what the user says does not fit it.
    """
    if name not in (AUTO, Classification.name):
        if said is not None:
            raise BadConfig(
                f"The task {name!r} takes no output, axis or threshold.", "Leave them out, or name classification."
            )
        return task_named(name)
    decision = said or certain_decision(outputs, graph, labelled)
    if decision is not None:
        return Classification(checked(decision, outputs))
    return Fidelity() if name == AUTO else Classification(checked(Decision(), outputs))


def detection_for(
    name: str,
    head: str | None,
    inputs: Sequence[ModelInput],
    outputs: Sequence[ModelInput],
    metadata: Mapping[str, str],
    dataset: Dataset,
) -> Detection | None:
    """Make the detection task, if it is the model's.

    Args:
        name: The name of the task; "auto" is detection if the samples are annotated with boxes, if a head is named, or
            if the file says so and shows its head.
        head: The name of the head; None tells it from the outputs.
        inputs: The model's inputs.
        outputs: The model's outputs.
        metadata: What the file says of itself.
        dataset: The samples.

    Returns:
        The task; None for another one.

    Raises:
        BadConfig: A head is named for another task, does not fit the outputs, or must be named.
        BadData: The data's classes are not the model's.
    """
    if name not in (AUTO, Detection.name):
        if head is not None:
            raise BadConfig(f"The task {name!r} takes no head.", "Leave it out, or name detection.")
        return None
    boxed = any(isinstance(annotation, Boxes) for annotation in dataset.annotations or ())
    if name == Detection.name or head is not None or boxed:
        return Detection.of(head, inputs, outputs, metadata, dataset)
    if not says_detection(metadata) or dataset.annotations is not None:
        return None
    try:
        return Detection.of(None, inputs, outputs, metadata, dataset)
    except BadConfig:  # the head is not certain, and nobody asked for detection
        return None


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
    "detection_for",
    "known_metrics",
    "task_for",
    "task_named",
]
