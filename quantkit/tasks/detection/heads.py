"""What the outputs of detectors mean: one :class:`Head` for each family, as data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from quantkit.core.errors import BadConfig
from quantkit.core.wording import choice_of
from quantkit.graph.model_io import ModelInput

Form = Literal["joined", "listed", "separate", "lists"]
NAMES: dict[str, re.Pattern[str]] = {
    "count": re.compile(r"num|count|valid", re.IGNORECASE),
    "boxes": re.compile(r"box|loc", re.IGNORECASE),
    "scores": re.compile(r"score|conf|prob", re.IGNORECASE),
    "labels": re.compile(r"label|class|cls", re.IGNORECASE),
}


@dataclass(frozen=True)
class Head:
    """The meaning of a detector's outputs for one sample.

    Attributes:
        name: The name of the preset.
        models: The models that have it.
        form: How boxes and classes come. "joined": one output of (candidates, 4 + classes), a box and the scores of all
            classes in each row. "listed": one output of (detections, 6), a box, its score and its class in each row.
            "separate": boxes (queries, 4) and logits (queries, classes). "lists": boxes (detections, 4), scores and
            labels (detections,), and perhaps the count of those that are filled.
        box: "xyxy" for edges, "cxcywh" for centre and size.
        normalized: True if coordinates are shares of the input's width and height, False for its pixels.
        channels_first: True if "joined" has shape (4 + classes, candidates).
        strides: If boxes are relative to the cells of feature maps: the pixels of a cell in each. Centres are counted
            in cells from the candidate's own, and sides are logarithms of cells.
        objectness: True if a fifth value follows the box, which the class scores are multiplied with.
        activation: What makes scores of logits. "softmax" is over the classes and a last one that means "no object".
        nms_iou: Boxes of one class that overlap by more than this IoU are one object, of which the best score counts;
            None if the model leaves no such boxes.
        first_label: The label of the first class; 1 where 0 is the background.
    """

    name: str
    models: str
    form: Form
    box: Literal["xyxy", "cxcywh"] = "xyxy"
    normalized: bool = False
    channels_first: bool = False
    strides: tuple[int, ...] = ()
    objectness: bool = False
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    nms_iou: float | None = None
    first_label: int = 0

    @property
    def expects(self) -> str:
        """The outputs of one sample in words."""
        if self.form == "joined":
            values = f"{5 if self.objectness else 4}+classes"
            return f"({values}, candidates)" if self.channels_first else f"(candidates, {values})"
        logits = "classes+1" if self.activation == "softmax" else "classes"
        return {
            "listed": "(detections, 6)",
            "separate": f"boxes (queries, 4) and logits (queries, {logits})",
            "lists": "boxes (detections, 4), scores and labels (detections)",
        }[self.form]

    def class_count(self, outputs: Sequence[ModelInput]) -> int | None:
        """Return the number of classes that the outputs' shapes tell; None if they do not."""
        roles = self.roles(outputs)
        own = next((one for one in outputs if one.name == roles.get("joined", roles.get("logits"))), None)
        if own is None or len(own.sample_shape) < 2:
            return None
        size = own.sample_shape[-2 if self.channels_first else -1]
        if not isinstance(size, int):
            return None
        if self.form == "separate":
            return size - (self.activation == "softmax")
        return size - (5 if self.objectness else 4) if self.form == "joined" else None

    def roles(self, outputs: Sequence[ModelInput]) -> dict[str, str]:
        """Return the name of the output for each role of the form; empty if the outputs do not fit.

        Roles are "joined"; or "logits" and "boxes"; or "boxes", "scores", "labels" and perhaps "count".
        """
        if self.form in ("joined", "listed"):
            tables = [own for own in outputs if _is_table(own) and self._fits(own)]
            return {"joined": tables[0].name} if len(tables) == 1 else {}
        if self.form == "separate":
            return _box_and_logits(outputs)
        found: dict[str, str] = {}
        for role in ("count", "boxes", "scores", "labels"):
            left = [own.name for own in outputs if own.name not in found.values()]
            name = next((name for name in left if NAMES[role].search(name)), None)
            if name is not None:
                found[role] = name
        return found if {"boxes", "scores", "labels"} <= found.keys() else {}

    def _fits(self, own: ModelInput) -> bool:
        rows, columns = own.sample_shape
        if self.form == "listed":
            return columns == 6
        values = rows if self.channels_first else columns
        return not isinstance(values, int) or values > (5 if self.objectness else 4)


# Thresholds are those that the models' own evaluation uses.
HEADS: dict[str, Head] = {
    head.name: head
    for head in (
        Head("yolov5", "YOLOv5, YOLOv7", "joined", "cxcywh", objectness=True, nms_iou=0.6),
        Head("yolox", "YOLOX", "joined", "cxcywh", strides=(8, 16, 32), objectness=True, nms_iou=0.65),
        Head("yolov8", "YOLOv8, YOLOv9, YOLO11", "joined", "cxcywh", channels_first=True, nms_iou=0.7),
        Head("yolov10", "YOLOv10, YOLO26 and others that end in (detections, 6)", "listed"),
        Head("rtdetr-ultralytics", "Ultralytics' RT-DETR", "joined", "cxcywh", normalized=True),
        Head("detr", "DETR, YOLOS, Table Transformer", "separate", "cxcywh", normalized=True, activation="softmax"),
        Head(
            "rt-detr",
            "RT-DETR, Deformable DETR, D-FINE, RF-DETR",
            "separate",
            "cxcywh",
            normalized=True,
            activation="sigmoid",
        ),
        Head("rt-detr-lists", "RT-DETR, D-FINE and DEIM exported with their postprocessing", "lists"),
        Head("torchvision", "torchvision's Faster R-CNN, RetinaNet, FCOS and SSD", "lists", first_label=1),
        Head("ssd", "SSD with boxes as shares of the input", "lists", normalized=True, first_label=1),
        Head("efficientnms", "TensorRT's EfficientNMS behind a YOLO", "lists"),
        Head(
            "efficientnms-normalized", "TensorRT's EfficientNMS, boxes as shares of the input", "lists", normalized=True
        ),
    )
}


def head_named(name: str, outputs: Sequence[ModelInput]) -> Head:
    """Return a preset. Raises BadConfig if there is none, or if the outputs do not fit it."""
    if name not in HEADS:
        raise BadConfig(f"There is no detection head {name!r}.", choice_of(name, HEADS))
    head = HEADS[name]
    if not head.roles(outputs):
        raise BadConfig(
            f"The outputs {shapes_of(outputs)} are not those of the head {name!r}, which has {head.expects} a sample.",
            f"Choose another head (--task-head, task_head=). {presets_told()}",
        )
    return head


def shapes_of(outputs: Sequence[ModelInput]) -> str:
    """Return the outputs' names and shapes in words."""
    return ", ".join(f"{own.name} ({', '.join(str(size)[:20] for size in own.shape)})" for own in outputs)


def presets_told() -> str:
    """Return what each preset expects, in one sentence."""
    return "There are " + "; ".join(f"{head.name}: {head.expects}" for head in HEADS.values()) + "."


def _is_table(own: ModelInput) -> bool:
    return own.dtype.startswith("float") and len(own.sample_shape) == 2


def _box_and_logits(outputs: Sequence[ModelInput]) -> dict[str, str]:
    tables = [own for own in outputs if _is_table(own)]
    boxes = [own for own in tables if own.sample_shape[1] == 4]
    if len(boxes) > 1:
        boxes = [own for own in boxes if NAMES["boxes"].search(own.name)]
    others = [own for own in tables if own not in boxes]
    if len(others) > 1:
        others = [own for own in others if re.search(r"logit|score|class", own.name, re.IGNORECASE)]
    return {"boxes": boxes[0].name, "logits": others[0].name} if len(boxes) == len(others) == 1 else {}


Metadata = Mapping[str, str]
"""What a model file says of itself: the ``metadata_props`` of ONNX."""
