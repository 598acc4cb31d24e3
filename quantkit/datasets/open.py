"""Opens whatever ``--data`` names and decides which samples of it are used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadInput
from quantkit.core.preprocess import Preprocess
from quantkit.datasets.arrays import ArrayDataset, open_arrays
from quantkit.datasets.base import Dataset
from quantkit.datasets.images import ImageDataset, ImageFiles, scan_folder, scan_list
from quantkit.datasets.select import balanced_choice
from quantkit.graph.model_file import ModelInput

NO_SPATIAL_SIZE = (224, 224)  # for models with dynamic height and width, unless the preprocessing says otherwise


@dataclass(frozen=True)
class OpenedData:
    """A dataset and the chosen samples in order. ``notes`` say how it is read, ``warnings`` what is odd about it."""

    dataset: Dataset
    indices: npt.NDArray[np.int64]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def open_dataset(
    path: Path,
    inputs: Sequence[ModelInput],
    preprocess: Preprocess,
    samples: int | None = None,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    labels: Path | None = None,
) -> OpenedData:
    """Open a folder, text list, .npy or .npz for a model with these ``inputs``. Raises BadInput.

    ``samples`` None means all. A text list is taken from its start; anything else is a seeded, class-balanced choice.
    """
    if not path.exists():
        raise BadInput(f"There is no file or folder {path}.", "Check --data.")
    notes: list[str] = []
    warnings: list[str] = []
    dataset: Dataset
    ordered = False
    if path.suffix in (".npy", ".npz") and path.is_file():
        dataset = _arrays(path, inputs, preprocess, classes, notes)
    else:
        files = scan_folder(path, labels) if path.is_dir() else scan_list(path)
        ordered = files.ordered
        if files.warning:
            warnings.append(files.warning)
        dataset = _images(files, inputs, preprocess, classes, notes)
    available = len(dataset.names)
    if samples is not None and samples > available:
        warnings.append(f"{path} holds {available} samples, fewer than the {samples} asked for.")
    if ordered or (samples is None and not isinstance(dataset, ImageDataset)):
        indices = np.arange(available)[:samples]
    else:
        indices = balanced_choice(dataset.labels, available, samples, seed)
    return OpenedData(dataset, indices, tuple(notes), tuple(warnings))


def _images(
    files: ImageFiles,
    inputs: Sequence[ModelInput],
    preprocess: Preprocess,
    classes: Sequence[str] | None,
    notes: list[str],
) -> ImageDataset:
    if len(inputs) != 1:
        raise BadInput(
            f"The model has {len(inputs)} inputs ({', '.join(i.name for i in inputs)}), but images feed one.",
            "Give the inputs as an .npz with one array for each.",
        )
    labels, known = index_labels(files.class_names, classes, files.source, files.from_csv)
    return ImageDataset(
        source=files.source,
        names=files.names,
        paths=files.paths,
        class_names=files.class_names,
        classes=known,
        labels=labels,
        input_name=inputs[0].name,
        preprocess=fit(preprocess, inputs[0], notes),
        dtype=inputs[0].dtype,
    )


def _arrays(
    path: Path,
    inputs: Sequence[ModelInput],
    preprocess: Preprocess,
    classes: Sequence[str] | None,
    notes: list[str],
) -> ArrayDataset:
    arrays, raw_labels = open_arrays(path, [i.name for i in inputs])
    image_inputs = set()
    fitted = preprocess
    for spec in inputs:
        array = arrays[spec.name]
        if array.dtype == np.uint8 and spec.dtype != "uint8" and (array.ndim == 3 or array.shape[3:] == (3,)):
            image_inputs.add(spec.name)
            fitted = fit(preprocess, spec, notes)
        elif not spec.takes(array.shape[1:]):
            raise BadInput(
                f"{path} gives {spec.name!r} samples of shape {array.shape[1:]}, but the model takes {spec.shape[1:]}.",
                "Save the array in the model's own shape and layout.",
            )
        else:
            notes.append(f"{spec.name} is fed as it stands in {path.name}, without preprocessing.")
    labels = None
    if raw_labels is not None:
        if raw_labels.dtype.kind not in "iu":
            raise BadInput(f"The labels in {path} are {raw_labels.dtype}.", "Save integer class indices.")
        labels = np.asarray(raw_labels, dtype=np.int64).reshape(-1)
        check_label_range(labels, len(classes) if classes else None, str(path))
    return ArrayDataset(
        source=str(path),
        arrays=arrays,
        labels=labels,
        classes=tuple(classes or ()),
        dtypes={i.name: i.dtype for i in inputs},
        image_inputs=frozenset(image_inputs),
        preprocess=fitted,
        names=[f"{path.name}[{i}]" for i in range(len(next(iter(arrays.values()))))],
    )


def fit(preprocess: Preprocess, spec: ModelInput, notes: list[str]) -> Preprocess:
    """Fill in size and layout from the model's input; BadInput when they contradict each other."""
    if len(spec.shape) != 4:
        raise BadInput(
            f"The model input {spec.name!r} has shape {spec.shape}, which is not that of a batch of images.",
            "Give the samples as .npy or .npz.",
        )
    layout = preprocess.layout or _layout(spec)
    depth, size = (spec.shape[1], spec.shape[2:]) if layout == "nchw" else (spec.shape[3], spec.shape[1:3])
    if isinstance(depth, int) and depth != preprocess.depth:
        raise BadInput(
            f"The model input {spec.name!r} takes {depth} channels, but the preprocessing makes {preprocess.depth}.",
            'Set channels in [preprocess] ("rgb", "bgr" or "gray"), or --preprocess gray for a grayscale model.',
        )
    known = tuple(d if isinstance(d, int) else None for d in size)
    wanted = preprocess.size
    if wanted is None:
        wanted = (known[0] or NO_SPATIAL_SIZE[0], known[1] or NO_SPATIAL_SIZE[1])
        if None in known:
            notes.append(f"The model's height and width are dynamic: images are resized to {wanted[0]}x{wanted[1]}.")
    elif any(k is not None and k != w for k, w in zip(known, wanted, strict=True)):
        raise BadInput(
            f"The model input {spec.name!r} is {known[0]}x{known[1]}, but [preprocess] size is "
            f"{wanted[0]}x{wanted[1]}.",
            "Leave size out, or set it to the model's.",
        )
    fitted = preprocess.model_copy(update={"size": wanted, "layout": layout})
    if spec.dtype.startswith(("int", "uint")):
        fitted = fitted.model_copy(update={"scale": 1.0, "mean": (0.0,), "std": (1.0,)})
        notes.append(f"The model takes {spec.dtype} pixels: they are resized, not normalised.")
    notes.append(f"Preprocessing: {fitted.describe()}")
    return fitted


def _layout(spec: ModelInput) -> str:
    channels = (1, 3, 4)
    if spec.shape[1] in channels:
        return "nchw"
    if spec.shape[3] in channels:
        return "nhwc"
    if isinstance(spec.shape[1], str) and isinstance(spec.shape[3], str):
        return "nchw"
    raise BadInput(
        f"The model input {spec.name!r} has shape {spec.shape}: neither its second nor its last dimension is 1 or 3 "
        "channels.",
        "Give the samples as .npy or .npz.",
    )


def index_labels(
    names: Sequence[str | None], classes: Sequence[str] | None, source: str, numbers_are_indices: bool = False
) -> tuple[npt.NDArray[np.int64] | None, tuple[str, ...]]:
    """Class names as indices into ``classes`` (default: the names, sorted).

    ``numbers_are_indices``: without ``classes``, labels that are all plain numbers stand for themselves.
    """
    present = sorted({name for name in names if name is not None})
    if not present:
        return None, tuple(classes or ())
    if classes is None and numbers_are_indices and all(name.isdecimal() for name in present):
        return np.array([-1 if name is None else int(name) for name in names], dtype=np.int64), ()
    order = {name: i for i, name in enumerate(classes if classes is not None else present)}
    unknown = [name for name in present if name not in order]
    if unknown:
        raise BadInput(
            f"{source} has the class {unknown[0]!r}, which is not among the {len(order)} classes given.",
            "Name every class in [data] classes, in the order of the model's outputs.",
        )
    labels = np.array([-1 if name is None else order[name] for name in names], dtype=np.int64)
    return labels, tuple(order)


def check_label_range(labels: npt.NDArray[np.int64], count: int | None, source: str) -> None:
    """Raise BadInput when a label lies outside 0..count-1 (or is negative, with count None)."""
    if not labels.size:
        return
    worst = int(labels.max()) if count is not None and labels.max() >= count else int(labels.min())
    if worst < 0 or (count is not None and worst >= count):
        raise BadInput(
            f"{source} has the label {worst}, outside the model's classes"
            + (f" 0 to {count - 1}." if count is not None else "."),
            "Check the labels, or that this is the right model.",
        )
