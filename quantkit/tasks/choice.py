"""Which task a model has: what the user names, what samples are annotated with, or what is certain of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantkit.core.errors import BadConfig
from quantkit.datasets.base import Dataset, class_indices
from quantkit.datasets.boxes import Boxes
from quantkit.datasets.mask import Mask
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile
from quantkit.graph.model_io import ModelInput
from quantkit.tasks import AUTO, task_named
from quantkit.tasks.base import Task, TaskSettings
from quantkit.tasks.class_outputs import Decision, certain_decision, checked, said_decision
from quantkit.tasks.classification import Classification
from quantkit.tasks.detection import Detection
from quantkit.tasks.detection.choice import says_detection
from quantkit.tasks.fidelity import Fidelity
from quantkit.tasks.segmentation import Segmentation


def choose_task(name: str, settings: TaskSettings, model: ModelFile, dataset: Dataset) -> Task:
    """Choose the task, and check the annotations against the model's outputs.

    Args:
        name: The name of the task. "auto" is detection or segmentation if samples are annotated with boxes or masks, or
            if the file says that it is a detector and shows its head; classification if an output certainly holds class
            scores, or if the user says which one does; else "none".
        settings: What the user says of the answers.
        model: The model.
        dataset: The samples.

    Returns:
        The task.

    Raises:
        BadConfig: There is no such task, it does not load, or what the user says does not fit it or the model.
        BadData: The annotations do not fit the outputs.
    """
    task = _chosen(name, settings, model, dataset)
    if dataset.annotations is not None:
        task.check(model.outputs, dataset)
    return task


def _chosen(name: str, settings: TaskSettings, model: ModelFile, dataset: Dataset) -> Task:
    said = said_decision(model.outputs, settings.output, settings.axis, settings.threshold)
    if name == Detection.name or (name == AUTO and said is None):
        metadata = {entry.key: entry.value for entry in model.graph_only.metadata_props}
        detection = detection_for(name, settings.head, model.inputs, model.outputs, metadata, dataset)
        if detection is not None:
            settings.only("head")
            return detection
    if name == AUTO and any(isinstance(own, Mask) for own in dataset.annotations or ()):
        name = Segmentation.name
    if name not in (AUTO, Classification.name):
        return task_named(name).fitted(model, settings)
    settings.only("output", "axis", "threshold")
    labelled = class_indices(dataset.annotations) is not None
    return classification_for(name, model.outputs, Graph(model.graph_only.graph), said, labelled)


def classification_for(
    name: str,
    outputs: Sequence[ModelInput],
    graph: Graph | None = None,
    said: Decision | None = None,
    labelled: bool = False,
) -> Task:
    """Make the classification of a model.

    Args:
        name: "classification"; or "auto" for fidelity alone unless an output certainly holds class scores, or the user
            says which one does.
        outputs: The model's outputs.
        graph: The model's graph; without it, shapes and names alone tell what outputs hold.
        said: Which output decides, if the user says so.
        labelled: True if the samples are labelled with class indices.

    Returns:
        The task.

    Raises:
        BadConfig: What the user says does not fit the outputs, or no output can be scores.
    """
    decision = said or certain_decision(outputs, graph, labelled)
    if decision is None and name == AUTO:
        return Fidelity()
    return Classification(checked(decision or Decision(), outputs))


def detection_for(
    name: str,
    head: str | None,
    inputs: Sequence[ModelInput],
    outputs: Sequence[ModelInput],
    metadata: Mapping[str, str],
    dataset: Dataset,
) -> Detection | None:
    """Make the detection of a model.

    Args:
        name: "detection"; or "auto" for none unless samples are annotated with boxes, a head is named, or the file says
            that it is a detector and shows its head.
        head: The name of the head; None tells it from the outputs.
        inputs: The model's inputs.
        outputs: The model's outputs.
        metadata: What the file says of itself.
        dataset: The samples.

    Returns:
        The task; None for another one.

    Raises:
        BadConfig: The head does not fit the outputs, or must be named.
        BadData: The data's classes are not the model's.
    """
    boxed = any(isinstance(annotation, Boxes) for annotation in dataset.annotations or ())
    if name == Detection.name or head is not None or boxed:
        return Detection.of(head, inputs, outputs, metadata, dataset)
    if not says_detection(metadata) or dataset.annotations is not None:
        return None
    try:
        return Detection.of(None, inputs, outputs, metadata, dataset)
    except BadConfig:  # the head is not certain, and nobody asked for detection
        return None
