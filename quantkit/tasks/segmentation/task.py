"""The segmentation task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadConfig, BadData
from quantkit.core.figures import Metric
from quantkit.core.preprocess import Preprocess
from quantkit.datasets.base import Dataset
from quantkit.datasets.geometry import Geometry
from quantkit.datasets.mask import IGNORED, Mask
from quantkit.graph.model_file import ModelFile
from quantkit.graph.model_io import ModelInput
from quantkit.tasks.base import Kept, Outputs, Task, TaskSettings
from quantkit.tasks.segmentation.answers import Maps, maps_in
from quantkit.tasks.segmentation.scorer import SegmentationScorer

SIDE = 96  # of a stored map
THRESHOLD = 0.5
TEST = "paired bootstrap test over images"


class Segmentation(Task):
    """The segmentation task. An annotation is a :class:`~quantkit.datasets.mask.Mask`.

    Args:
        output: The output that holds the map; None means the only one that can.
        axis: The axis of its classes in a sample.
        threshold: From which on a pixel is foreground, for one channel.
        names: The names of the classes.
        foreground: True if the map has one channel, which says how much of each pixel is foreground.
    """

    name = "segmentation"
    judged_by_sample = False
    metrics = (
        Metric(
            name="miou",
            title="mIoU",
            unit="share",
            interval=True,
            test=TEST,
            hint="Intersection over union of all images' pixels, mean over the classes that masks have",
        ),
        Metric(name="pixels", title="right pixels", unit="share", interval=True, test=TEST, hint="Of those judged"),
        Metric(name="iou", title="IoU of the foreground", unit="share", interval=True, test="paired t-test"),
        Metric(
            name="mae", title="MAE of the foreground", better="lower", interval=True, hint="Mean absolute error, 0 to 1"
        ),
        Metric(
            name="miou_fp32",
            title="mIoU to FP32",
            unit="share",
            interval=True,
            of_fp32=True,
            hint="mIoU with FP32's answers for masks",
        ),
    )

    def __init__(
        self,
        output: str | None = None,
        axis: int = 0,
        threshold: float = THRESHOLD,
        names: Sequence[str] = (),
        foreground: bool = False,
    ) -> None:
        self.output, self.axis, self.threshold, self.names = output, axis, threshold, tuple(names)
        self.foreground = foreground

    def fitted(self, model: ModelFile, settings: TaskSettings) -> Segmentation:
        """Return the task for a model. Raises BadConfig if no output can be a map, or several can."""
        settings.only("output", "axis", "threshold")
        maps = [own for own in model.outputs if _may_be_map(own)]
        if settings.output is not None:
            maps = [own for own in model.outputs if own.name == settings.output]
        if len(maps) != 1:
            shapes = "; ".join(f"{own.name} {own.shape}" for own in model.outputs)
            what = "holds no output" if not maps else "holds several outputs"
            raise BadConfig(
                f"The model {what} of the shape of a map, (N, classes, height, width) or (N, height, width): {shapes}.",
                "Name one (--task-output, task_output=).",
            )
        own, axis = maps[0], 0
        if settings.axis is not None:
            rank = len(own.shape)
            place = settings.axis + rank if settings.axis < 0 else settings.axis
            if rank != 4 or not 1 <= place < rank:
                raise BadConfig(
                    f"The output {own.name!r} has no axis {settings.axis} of classes; its shape is {own.shape}.",
                    "Give 1 for (N, classes, height, width), or 3 for (N, height, width, classes).",
                )
            axis = place - 1
        threshold = THRESHOLD if settings.threshold is None else settings.threshold
        one = own.dtype.startswith("float") and (len(own.shape) == 3 or own.shape[axis + 1] == 1)
        return Segmentation(own.name, axis, threshold, foreground=one)

    def describe_answers(self) -> str:
        """Return which output holds the map."""
        what = "how much of each pixel is foreground" if self.foreground else "the class of each pixel"
        return f"{what} in output {self.output}" if self.output else what

    def decode(self, outputs: Outputs) -> Maps | None:
        """Return the maps in the outputs; None if there are none."""
        names = [self.output] if self.output in outputs else list(outputs)
        found = (maps_in(outputs[name], self.axis, self.threshold) for name in names if name is not None)
        return next((maps for maps in found if maps is not None), None)

    def of_samples(self, answers: Maps, dataset: Dataset, indices: Sequence[int]) -> Maps:
        """Return maps with how their images lie in them."""
        own = dataset.preprocess if isinstance(dataset.preprocess, Preprocess) else None
        return replace(answers, preprocess=own, sizes=tuple(dataset.image_size(index) for index in indices))

    def scorer(self) -> SegmentationScorer:
        """Make a scorer."""
        return SegmentationScorer(self.metrics, self.names)

    def check(self, outputs: Sequence[ModelInput], dataset: Dataset) -> None:
        """Take the classes' names; raise BadData for annotations that are no masks."""
        wrong = next((own for own in dataset.annotations or () if own is not None and not isinstance(own, Mask)), None)
        if wrong is not None:
            raise BadData(
                f"{dataset.source} is annotated with {type(wrong).__name__}, not with masks.",
                "Give a folder with images/ and masks/, or a COCO file of segmentations and the task segmentation.",
            )
        self.names = tuple(dataset.classes)

    def check_answers(self, answers: Maps, dataset: Dataset) -> None:
        """Raise BadData if a mask has a class that the model does not have."""
        if answers.soft is not None or answers.count is None:
            return
        if len(self.names) not in (0, answers.count):
            raise BadData(
                f"{dataset.source} names {len(self.names)} classes, but the model has {answers.count}.",
                "Name each of the model's classes, in its order, in classes.txt or [data] classes.",
            )
        for mask in [own for own in dataset.annotations or () if isinstance(own, Mask)][:8]:
            found = np.unique(mask.load())
            beyond = found[(found >= answers.count) & (found != IGNORED)]
            if len(beyond):
                raise BadData(
                    f"The mask {mask.name} has the class {int(beyond[-1])}, but the model's classes are 0 to "
                    f"{answers.count - 1}.",
                    f"Number classes as the model does; {IGNORED} is for pixels that are not judged.",
                )

    def keep(self, answers: Maps) -> Kept:
        """Return ``maps``, classes at SIDE × SIDE places of each image, and ``sizes``, the images' (height, width)."""
        kept = [_on_image(own, answers, place) for place, own in enumerate(answers.classes)]
        sizes = [own or (0, 0) for own in (answers.sizes or (None,) * len(kept))]
        return {"maps": np.stack(kept).astype(np.int16), "sizes": np.array(sizes, np.int32).reshape(len(kept), 2)}

    def stored_fault(self, kept: Kept, annotations: npt.NDArray[Any], classes: Sequence[str]) -> str:
        """Return what is wrong with stored maps of (K, N, ...), in words; empty if nothing is."""
        shapes = {"maps": (SIDE, SIDE), "sizes": (2,)}
        if any(name not in kept or kept[name].shape[2:] != shape for name, shape in shapes.items()):
            return "its maps have another shape"
        return "" if all(kept[name].dtype.kind == "i" for name in shapes) else "its maps are no whole numbers"

    def agree(self, first: Kept, second: Kept) -> npt.NDArray[np.bool_]:
        """Return True for every sample whose stored maps are equal, (N,)."""
        same: npt.NDArray[np.bool_] = (first["maps"] == second["maps"]).all(axis=(1, 2))
        return same


def _may_be_map(own: ModelInput) -> bool:
    """True for an output of the rank of a map whose last two axes, at least, are no single values."""
    shape = own.shape
    return len(shape) in (3, 4) and all(isinstance(side, str) or side > 1 for side in shape[-2:])


def _on_image(own: npt.NDArray[np.integer], maps: Maps, place: int) -> npt.NDArray[np.integer]:
    """Return a map at SIDE × SIDE places of its image."""
    size = maps.sizes[place] if place < len(maps.sizes) else None
    middle = (np.arange(SIDE) + 0.5) / SIDE
    rows, columns = middle, middle
    if maps.preprocess is not None and maps.preprocess.size is not None and size is not None:
        placed = Geometry.of(maps.preprocess, size)
        rows = (middle * placed.resized[0] + placed.top) / maps.preprocess.size[0]
        columns = (middle * placed.resized[1] + placed.left) / maps.preprocess.size[1]
    y = np.clip((rows * own.shape[0]).astype(np.intp), 0, own.shape[0] - 1)
    x = np.clip((columns * own.shape[1]).astype(np.intp), 0, own.shape[1] - 1)
    found: npt.NDArray[np.integer] = own[y][:, x]
    return found
