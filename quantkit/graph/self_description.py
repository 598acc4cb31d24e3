"""What a model says of itself: the preprocessing, the classes and the task that its file or a file beside it names.

These are read, in this order, and the first that says how images are prepared counts:

- the metadata of Ultralytics' exports (``imgsz``, ``names``, ``task``), https://docs.ultralytics.com/modes/export/;
- ``preprocessor_config.json`` of Hugging Face's image processors,
  https://huggingface.co/docs/transformers/main_classes/image_processor;
- ``config.json`` with timm's ``pretrained_cfg``, https://huggingface.co/docs/timm/reference/data.

Nothing here is trusted: what is not understood counts as not said, with a note.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quantkit.core.errors import BadData
from quantkit.core.preprocess import IMAGENET_MEAN, IMAGENET_STD, LARGEST_SIDE, Preprocess
from quantkit.core.presets import AUTO_PRESET, PRESETS
from quantkit.core.reading import LARGEST_TEXT, read_file
from quantkit.graph.model_file import ModelFile

PROCESSOR_FILE, CONFIG_FILE = "preprocessor_config.json", "config.json"
LONGEST_METADATA = 1 << 20
RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # as PIL numbers them


@dataclass(frozen=True)
class SelfDescription:
    """What a model says.

    Attributes:
        source: Where it says so, to end a sentence.
        preprocess: How images are prepared; None if it does not say.
        classes: The names of its classes, in order; empty if it does not say.
        task: The task in Ultralytics' words ("detect", "classify", …); empty if it does not say.
        notes: What it says that is not understood.
    """

    source: str
    preprocess: Preprocess | None = None
    classes: tuple[str, ...] = ()
    task: str = ""
    notes: tuple[str, ...] = ()


def description_of(model: ModelFile) -> SelfDescription | None:
    """Return what a model says of itself; None if it says nothing."""
    metadata = {entry.key: entry.value for entry in model.graph_only.metadata_props}
    if "Ultralytics" in metadata.get("author", "") or {"imgsz", "names", "task", "stride"} <= metadata.keys():
        return _ultralytics(metadata)
    folder = model.path.parent
    if folder.name == "onnx" and not (folder / CONFIG_FILE).is_file():  # as Hugging Face's repositories keep exports
        folder = folder.parent
    described: SelfDescription | None = None
    damaged = []
    for name, read in ((PROCESSOR_FILE, _processor), (CONFIG_FILE, _timm)):
        values = _json(folder / name)
        if values is not None and not isinstance(values, dict):
            damaged.append(f"{name} beside the model is no JSON object; it is not used.")
            continue
        found = None if values is None else read(values, f"{name} beside it")
        if found is not None and described is not None:  # only config.json names the classes
            described = replace(described, classes=found.classes)
        described = described or found
    if not damaged:
        return described
    described = described or SelfDescription("the files beside it")
    return replace(described, notes=(*described.notes, *damaged))


def resolved(preprocess: Preprocess, model: ModelFile) -> tuple[Preprocess, tuple[str, ...]]:
    """Return the preprocessing to use, and notes on where it is from.

    Args:
        preprocess: The configured preprocessing. Where nothing but a size or a layout is set, the model decides.
        model: The model.

    Returns:
        The preprocessing, which is never "auto", and the notes.
    """
    if preprocess.preset != AUTO_PRESET:
        return preprocess, ()
    ground = PRESETS["imagenet-stretch"]
    settled = preprocess.model_copy(update={"preset": ground.preset})
    if settled.model_copy(update={"size": None, "layout": None}) != ground:
        return settled, ()
    described = description_of(model)
    if described is None or described.preprocess is None:
        return settled, () if described is None else described.notes
    own = described.preprocess
    update = {"layout": preprocess.layout, "size": preprocess.size or own.size}
    if preprocess.size is None and own.size is not None and not _takes(model, own.size):
        update["size"] = None  # an export of another size says more than where it was made from
    said = f"The preprocessing is what the model says of itself, in {described.source}."
    return own.model_copy(update=update), (said, *described.notes)


def class_names_in(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the class names that Ultralytics writes into its models; empty if there are none, or not from 0 on."""
    names = _literal(metadata.get("names", ""))
    numbered = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(numbered, dict) or sorted(map(str, numbered)) != sorted(map(str, range(len(numbered)))):
        return ()
    return tuple(str(numbered.get(number, numbered.get(str(number)))) for number in range(len(numbered)))


def _takes(model: ModelFile, size: tuple[int, int]) -> bool:
    """True if an input of the model takes images of a size."""
    shapes = [own.sample_shape for own in model.inputs if len(own.sample_shape) == 3]
    sides = [side for shape in shapes for side in (shape[1:], shape[:2])]  # channels first, or last
    return any(all(isinstance(d, str) or d == s for d, s in zip(side, size, strict=True)) for side in sides)


def _ultralytics(metadata: Mapping[str, str]) -> SelfDescription:
    task = metadata.get("task", "")
    notes: list[str] = []
    classes = class_names_in(metadata)
    if not classes and metadata.get("names"):
        notes.append("The model's metadata has names of classes that are not numbered from 0; they are not used.")
    size = _literal(metadata.get("imgsz", ""))
    sides = _sides(size)
    base = PRESETS["imagenet"].model_copy(update={"mean": (0.0,), "std": (1.0,), "crop_pct": 1.0})
    own = base if task == "classify" else PRESETS["yolo"]
    return SelfDescription(
        "its metadata (Ultralytics)",
        own.model_copy(update={"preset": "ultralytics", "size": sides}),
        classes,
        task,
        tuple(notes),
    )


def _processor(values: Mapping[str, Any], source: str) -> SelfDescription | None:
    """Read an image processor of Hugging Face; None if it is of another kind of model."""
    if not values.keys() & {"image_mean", "do_resize", "do_rescale", "do_normalize", "image_processor_type"}:
        return None
    try:
        crops = bool(values.get("do_center_crop", "crop_size" in values)) and "crop_size" in values
        size = _sides(values.get("size"))
        shorter = _shorter(values.get("size"))
        crop = _sides(values.get("crop_size")) if crops else None
        if crops and crop is None:
            return SelfDescription(source, notes=(f"{source} has a crop that is not understood.",))
        if values.get("do_resize", True) is False:
            return SelfDescription(source, notes=(f"{source} asks for images as they are, which is not done here.",))
        if crop is not None:
            pct = _share(min(crop), shorter if shorter is not None else min(size or crop), values.get("crop_pct"))
            fields: dict[str, Any] = {"resize": "crop", "size": crop, "crop_pct": pct}
        elif shorter is not None:  # ConvNeXT's: the shorter side, then a centre crop unless the image is large
            pct = float(values.get("crop_pct", 1.0)) if shorter < 384 else 1.0
            fields = {"resize": "crop" if shorter < 384 else "stretch", "size": (shorter, shorter), "crop_pct": pct}
        elif size is not None:
            fields = {"resize": "stretch", "size": size}
        else:
            return SelfDescription(source, notes=(f"{source} has a size that is not understood.",))
        scale = float(values.get("rescale_factor", 1 / 255)) if values.get("do_rescale", True) else 1.0
        normalizes = bool(values.get("do_normalize", "image_mean" in values))
        own = Preprocess(
            preset="huggingface",
            interpolation=_interpolation(values.get("resample", 2)),
            scale=1 / 255 if abs(scale * 255 - 1) < 1e-5 else scale,
            mean=tuple(values.get("image_mean", IMAGENET_MEAN)) if normalizes else (0.0,),
            std=tuple(values.get("image_std", IMAGENET_STD)) if normalizes else (1.0,),
            **fields,
        )
    except (TypeError, ValueError, ZeroDivisionError):
        return SelfDescription(source, notes=(f"{source} is not understood; it is not used.",))
    return SelfDescription(source, own, _labels(values))


def _timm(values: Mapping[str, Any], source: str) -> SelfDescription | None:
    """Read timm's configuration, or the classes of a Hugging Face model's; None if it has neither."""
    config = values.get("pretrained_cfg")
    classes = _labels(values)
    if not isinstance(config, dict):
        return SelfDescription(source, classes=classes) if classes else None
    try:
        channels, height, width = (int(side) for side in config["input_size"])
        mode, pct = str(config.get("crop_mode", "center")), float(config.get("crop_pct", 0.875))
        fields: dict[str, Any] = {"resize": "crop", "crop_pct": pct}
        if mode == "squash" and pct >= 1:
            fields = {"resize": "stretch"}
        elif mode == "border":
            fields = {"resize": "letterbox", "pad": 0}
        own = Preprocess(
            preset="timm",
            size=(height, width),
            interpolation=_interpolation(config.get("interpolation", "bilinear")),
            channels="gray" if channels == 1 else "rgb",
            mean=tuple(config.get("mean", IMAGENET_MEAN)),
            std=tuple(config.get("std", IMAGENET_STD)),
            **fields,
        )
    except (KeyError, TypeError, ValueError):
        return SelfDescription(source, classes=classes, notes=(f"{source} is not understood; it is not used.",))
    return SelfDescription(source, own, classes or tuple(map(str, values.get("label_names") or ())))


def _labels(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of ``id2label`` in order; empty if they are not numbered from 0, or only have numbers."""
    labels = values.get("id2label")
    if not isinstance(labels, dict) or set(labels) != {str(number) for number in range(len(labels))}:
        return ()
    names = tuple(str(labels[str(number)]) for number in range(len(labels)))
    return () if all(name == f"LABEL_{number}" for number, name in enumerate(names)) else names


def _json(path: Path) -> Any:
    """Return what is in a JSON file, False if that is no JSON; None if there is no file."""
    try:
        return json.loads(read_file(path, LARGEST_TEXT, BadData, "description of the model"))
    except OSError:
        return None
    except (ValueError, BadData, RecursionError):
        return False


def _literal(text: str) -> Any:
    """Return the Python literal in a text, as Ultralytics writes its metadata; None if it is none."""
    if len(text) > LONGEST_METADATA:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _sides(size: Any) -> tuple[int, int] | None:
    """Return (height, width) of a number, a pair, or an object with "height" and "width"; None for anything else.

    None, too, for sizes that no image is resized to.
    """
    if isinstance(size, dict):
        size = (size.get("height"), size.get("width"))
    if isinstance(size, int) and not isinstance(size, bool):
        size = (size, size)
    if not isinstance(size, (list, tuple)) or len(size) != 2 or not all(isinstance(side, int) for side in size):
        return None
    return (size[0], size[1]) if min(size) > 0 and max(size) <= LARGEST_SIDE else None


def _shorter(size: Any) -> int | None:
    """Return the length of the shorter side, if that is what a size tells."""
    if isinstance(size, dict):
        size = size.get("shortest_edge")
        return size if isinstance(size, int) else None
    return None


def _share(kept: int, of: int, said: Any) -> float:
    """Return the share that a centre crop keeps of the shorter side, at most 1."""
    return min(1.0, float(said) if said is not None else kept / of)


def _interpolation(value: Any) -> Any:
    """Return the name of a resampling method, which PIL numbers. Raises ValueError."""
    name = RESAMPLING[value] if isinstance(value, int) and 0 <= value < len(RESAMPLING) else str(value).lower()
    return "bicubic" if name == "random" else name
