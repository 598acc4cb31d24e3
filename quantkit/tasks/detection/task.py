"""The detection task: boxes with a class and a score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadConfig, BadData
from quantkit.core.figures import Metric
from quantkit.core.preprocess import Preprocess
from quantkit.datasets.base import Dataset
from quantkit.datasets.boxes import Boxes
from quantkit.datasets.geometry import Geometry
from quantkit.datasets.size_inputs import is_size
from quantkit.graph.model_io import ModelInput
from quantkit.graph.self_description import class_names_in
from quantkit.tasks.base import Caption, Kept, Outputs, Task
from quantkit.tasks.detection import kept as storage
from quantkit.tasks.detection.answers import SURE, Answer, Answers, common
from quantkit.tasks.detection.choice import certain_head, no_certain_head
from quantkit.tasks.detection.coco import check_installed
from quantkit.tasks.detection.decode import Found, decode
from quantkit.tasks.detection.heads import HEADS, Head, Metadata, head_named
from quantkit.tasks.detection.matching import Objects, match
from quantkit.tasks.detection.scorer import DetectionScorer, Resamples


def _share(name: str, title: str, hint: str, of_fp32: bool = False) -> Metric:
    test = "" if of_fp32 else "paired bootstrap test over images"
    return Metric(name=name, title=title, unit="share", interval=True, hint=hint, of_fp32=of_fp32, test=test)


class Detection(Task):
    """The detection task. An annotation is a :class:`~quantkit.datasets.boxes.Boxes`.

    Args:
        head: The meaning of the outputs.
        roles: The output's name for each role of the head.
        size: (height, width) of the model's input; None if it is not fixed.
        preprocess: How images become inputs; None if they are not images.
        names: The names of the model's classes.
        order: The model's class for each class of the data, -1 for one that it does not have; None if they are the
            same.
    """

    name = "detection"
    judged_by_sample = False
    metrics = (
        _share("map", "mAP", "Mean average precision over IoU 0.50 to 0.95, by COCO's rules"),
        _share("ap50", "AP50", "Mean average precision at IoU 0.50"),
        _share("ap75", "AP75", "Mean average precision at IoU 0.75"),
        _share("ar", "AR", "Mean highest recall over IoU 0.50 to 0.95, of up to 100 detections of a class"),
        _share("f1_50", "F1 to FP32 at IoU 0.50", f"F1 of the detections against FP32's, scores from {SURE:g}", True),
        _share("f1_75", "F1 to FP32 at IoU 0.75", f"F1 of the detections against FP32's, scores from {SURE:g}", True),
    )

    def __init__(
        self,
        head: Head = HEADS["yolov8"],
        roles: dict[str, str] | None = None,
        size: tuple[int, int] | None = None,
        preprocess: Preprocess | None = None,
        names: Sequence[str] = (),
        order: Sequence[int] | None = None,
    ) -> None:
        self.head, self.names = head, tuple(names)
        self._resampled = Resamples()
        self._roles, self._size, self._preprocess = roles or {}, size, preprocess
        self._order = None if order is None else np.array(order, np.int64)

    @classmethod
    def of(
        cls,
        head: str | None,
        inputs: Sequence[ModelInput],
        outputs: Sequence[ModelInput],
        metadata: Metadata,
        dataset: Dataset,
    ) -> Detection:
        """Make the task for a model and its data.

        Args:
            head: The name of a preset; None tells it from the outputs.
            inputs: The model's inputs.
            outputs: The model's outputs.
            metadata: What the file says of itself.
            dataset: The samples.

        Returns:
            The task.

        Raises:
            BadConfig: There is no such head, the outputs do not fit it, or they do not show which one they have.
            BadData: The data's classes are not the model's.
        """
        preprocess = dataset.preprocess if isinstance(dataset.preprocess, Preprocess) else None
        if preprocess is not None and preprocess.size is None:  # ready arrays, which nothing is applied to
            preprocess = None
        size = preprocess.size if preprocess is not None else _fixed_size(inputs)
        if head is not None:
            chosen = head_named(head, outputs)
        else:
            certain = certain_head(outputs, metadata, size, len(dataset.classes) or None, any(map(is_size, inputs)))
            if certain is None or not certain.roles(outputs):
                raise no_certain_head(outputs, len(dataset.classes) or None)
            chosen = certain
        if chosen.strides and size is None:
            raise BadConfig(
                f"The head {chosen.name!r} wants the size of the model's input, which is dynamic.",
                "Give images, not arrays, or a model of fixed height and width.",
            )
        names = class_names_in(metadata)
        count = chosen.class_count(outputs)
        if count is not None and len(names) != count:
            names = ()
        order = _class_order(dataset, names, count)
        return cls(chosen, chosen.roles(outputs), size, preprocess, names or dataset.classes, order)

    def decode(self, outputs: Outputs) -> Answers | None:
        """Return the detections in the pixels of the model's input; None if the outputs are not the head's."""
        found = {role: outputs[name] for role, name in self._roles.items() if name in outputs}
        if not found or len(found) != len(self._roles):
            return None
        return [Answer(own) for own in decode(self.head, found, self._size)]

    def of_samples(self, answers: Answers, dataset: Dataset, indices: Sequence[int]) -> Answers:
        """Return the detections in the images' own pixels, matched with their objects.

        Those that lie wholly outside the image, as in a letterbox's border, are left out.
        """
        return [self._of_sample(answer, dataset, index) for answer, index in zip(answers, indices, strict=True)]

    def _of_sample(self, answer: Answer, dataset: Dataset, index: int) -> Answer:
        boxes = None if dataset.annotations is None else dataset.annotations[index]
        size = (boxes.height, boxes.width) if isinstance(boxes, Boxes) else dataset.image_size(index)
        if size is not None and self._preprocess is not None:
            limits = np.array([size[1], size[0], size[1], size[0]], np.float64)
            xyxy = Geometry.of(self._preprocess, size).to_image(answer.found.xyxy).clip(0, limits)
            inside = (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
            answer = Answer(Found(xyxy[inside], answer.found.scores[inside], answer.found.classes[inside]), size)
        if isinstance(boxes, Boxes):
            answer = replace(answer, matches=match(answer.found, self._objects(boxes)))
        return answer

    def of_annotations(self, annotations: Sequence[Any]) -> list[Any]:
        """Return annotations with the model's classes."""
        if self._order is None:
            return list(annotations)
        order = self._order
        return [replace(one, classes=order[one.classes]) if isinstance(one, Boxes) else one for one in annotations]

    def _objects(self, boxes: Boxes) -> Objects:
        (own,) = self.of_annotations([boxes])
        return Objects(own.xyxy, own.classes, own.crowd)

    def scorer(self) -> DetectionScorer:
        """Make a scorer."""
        return DetectionScorer(self.names, self.of_annotations, self._resampled)

    def describe_answers(self) -> str:
        """Return what of the detections is compared."""
        return (
            f"all detections of an image with a score of {SURE:g} or more, which must match one to one in class and at "
            "an IoU of 0.5"
        )

    def check(self, outputs: Sequence[ModelInput], dataset: Dataset) -> None:
        """Raise BadData if an annotation is not boxes, and BackendMissing if mAP cannot be computed here."""
        for annotation in dataset.annotations or ():
            if annotation is not None and not isinstance(annotation, Boxes):
                raise BadData(
                    f"The annotation {annotation!r:.40} is not boxes.",
                    "Give a COCO file, a YOLO or a Pascal VOC folder, or name another task (--task, task=).",
                )
        check_installed()

    def class_names(self, dataset: Dataset) -> Sequence[str]:
        """Return the names of the model's classes."""
        return self.names

    def keep(self, answers: Answers) -> Kept:
        """Return the detections that people are shown; see ``kept.py``."""
        return storage.keep(answers)

    def keep_annotations(self, annotations: Sequence[Any]) -> npt.NDArray[np.float32]:
        """Return the objects; see ``kept.py``."""
        return storage.keep_annotations(self.of_annotations(annotations))

    def stored_fault(self, kept: Kept, annotations: npt.NDArray[Any], classes: Sequence[str]) -> str:
        """Arrays must have the shapes of ``kept.py``."""
        return storage.stored_fault(kept, annotations)

    def agree(self, first: Kept, second: Kept) -> npt.NDArray[np.bool_]:
        """Return True for images whose detections match one to one, in class and with an IoU of at least 0.5."""
        pairs = ((storage.kept_found(first, i), storage.kept_found(second, i)) for i in range(len(first["kinds"])))
        return np.array([len(a.scores) == len(b.scores) == common(a, b)[0] for a, b in pairs], np.bool_)

    def right(self, kept: Kept, annotations: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return True for annotated images in which all objects are found at IoU 0.5, and nothing else."""
        return np.array([_is_right(kept, annotations, sample) for sample in range(len(annotations))], np.bool_)

    def annotated(self, annotations: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return True for images with an annotation, which may be empty."""
        known: npt.NDArray[np.bool_] = annotations[:, 0, 4] != storage.NOT_ANNOTATED
        return known

    def caption(self, kept: Kept, sample: int, classes: Sequence[str]) -> Caption:
        """Return how many objects of which class are detected."""
        return Caption(_told(storage.kept_found(kept, sample).classes, classes))

    def annotation_caption(self, annotations: npt.NDArray[Any], sample: int, classes: Sequence[str]) -> str:
        """Return how many objects of which class there are."""
        objects, _ = storage.kept_objects(annotations, sample)
        return _told(objects.classes[~objects.crowd], classes)


def _is_right(kept: Kept, annotations: npt.NDArray[Any], sample: int) -> bool:
    if annotations[sample, 0, 4] == storage.NOT_ANNOTATED:
        return False
    found = match(storage.kept_found(kept, sample), storage.kept_objects(annotations, sample)[0], np.array([0.5]))
    return bool(found.right.sum() == len(found.objects) and (found.right | found.ignored).all())


def _told(numbers: npt.NDArray[np.int64], classes: Sequence[str]) -> str:
    names = (classes[number] if number < len(classes) else f"class {number}" for number in numbers.tolist())
    return ", ".join(f"{count} {name}" for name, count in Counter(names).most_common()) or "nothing"


def _fixed_size(inputs: Sequence[ModelInput]) -> tuple[int, int] | None:
    """Return (height, width) of an image input whose size is fixed."""
    images = [own for own in inputs if not is_size(own)]
    shape = images[0].sample_shape if len(images) == 1 else ()
    if len(shape) != 3:
        return None
    height, width = shape[1:] if shape[0] in (1, 3, 4) else shape[:2]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _class_order(dataset: Dataset, names: Sequence[str], count: int | None) -> list[int] | None:
    """Return the model's class for each of the data's: by name, or by number if no name is one of the model's.

    Raises BadData if the model has some of the names that are used but not all, or if the numbers of classes differ.
    """
    own = list(dataset.classes)
    if dataset.annotations is None or not own:
        return None
    used = {
        number for one in dataset.annotations if isinstance(one, Boxes) for number in np.unique(one.classes).tolist()
    }
    strange = sorted({own[number] for number in used} - set(names))
    if strange and set(own) & set(names):
        raise BadData(
            f"{dataset.source} has the class {strange[0]!r}, which is none of the model's ({', '.join(names[:5])} …).",
            "Call it as the model does, or remove it from the data.",
        )
    if not strange:
        return [names.index(name) if name in names else -1 for name in own]
    if count is not None and count != len(own):
        raise BadData(
            f"{dataset.source} has {len(own)} classes, but the model has {count}.",
            "Name the model's classes in order in [data] classes, so that the data's are found by name.",
        )
    return None
