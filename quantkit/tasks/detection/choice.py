"""Tells a detector's head from its shapes and from what the file says of itself, where that is certain."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quantkit.core.errors import BadConfig
from quantkit.graph.model_io import ModelInput
from quantkit.graph.self_description import class_names_in
from quantkit.tasks.detection.heads import HEADS, Head, Metadata, presets_told, shapes_of

STRIDES = (8, 16, 32)  # of the three feature maps that YOLO predicts on
ANCHORS = 3  # boxes for each cell of YOLOv5 and YOLOv7
END_TO_END = 300  # detections of Ultralytics' end-to-end models


def says_detection(metadata: Metadata) -> bool:
    """True if the file says that the model is a detector."""
    return metadata.get("task") == "detect"


def certain_head(
    outputs: Sequence[ModelInput],
    metadata: Metadata,
    size: tuple[int, int] | None,
    classes: int | None,
    takes_size: bool = False,
) -> Head | None:
    """Return the head that the outputs certainly have.

    TensorRT's EfficientNMS is known by its outputs' names, RT-DETR's postprocessing by these and an input for the
    image's size. One output of three dimensions is a YOLO's if its number
    of values fits the classes, and the file says that it is Ultralytics' or its number of candidates is that of a
    YOLO's three feature maps.

    Args:
        outputs: The model's outputs.
        metadata: What the file says of itself.
        size: (height, width) of the input; None if that is not known.
        classes: The number of classes of the data, if it is known; the file's own names come first.
        takes_size: True if an input wants the image's size.

    Returns:
        The head; None if it is not certain.
    """
    named = {own.name for own in outputs}
    if {"num_dets", "det_boxes", "det_scores", "det_classes"} <= named:
        return HEADS["efficientnms"]
    if takes_size and named == {"labels", "boxes", "scores"}:
        return HEADS["rt-detr-lists"]
    tables = [own for own in outputs if own.dtype.startswith("float") and len(own.sample_shape) == 2]
    if len(tables) != 1:
        return None
    rows, columns = tables[0].sample_shape
    if "rtdetr" in metadata.get("description", "").lower().replace("-", ""):
        return HEADS["rtdetr-ultralytics"]
    if metadata.get("end2end") == "True" or (columns == 6 and rows == END_TO_END and says_detection(metadata)):
        return HEADS["yolov10"] if columns == 6 else None
    count = len(class_names_in(metadata)) or classes
    if not count:
        return None
    ultralytics = bool(class_names_in(metadata))
    fitting = []
    if rows == 4 + count and (ultralytics or _is_grid(columns, size, 1)):
        fitting.append(HEADS["yolov8"])
    if columns == 5 + count and (ultralytics or _is_grid(rows, size, ANCHORS)):
        fitting.append(HEADS["yolov5"])
    return fitting[0] if len(fitting) == 1 else None


def no_certain_head(outputs: Sequence[ModelInput], classes: int | None) -> BadConfig:
    """Return the error for outputs whose head is not certain."""
    among = f" for data of {classes} classes" if classes else ""
    return BadConfig(
        f"The outputs {shapes_of(outputs)} do not show{among} how they hold detections.",
        f"Name it (--task-head, task_head=, or [task] head), or compare outputs alone, by the task none. "
        f"{presets_told()}",
    )


def _is_grid(candidates: int | str, size: tuple[int, int] | None, anchors: int) -> bool:
    """True if there are so many candidates as the cells of three feature maps have anchors."""
    if size is None:
        return False
    cells = sum(math.prod(math.ceil(side / stride) for side in size) for stride in STRIDES)
    return candidates == anchors * cells
