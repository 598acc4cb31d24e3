"""Adapts the preprocessing of images to an input of a model."""

from __future__ import annotations

from quantkit.core.errors import BadData
from quantkit.core.preprocess import Preprocess
from quantkit.graph.model_io import ModelInput

# For models with dynamic height and width, unless the preprocessing says otherwise: of detectors, and of all others.
LETTERBOX_SIZE, NO_SPATIAL_SIZE = (640, 640), (224, 224)


def fit(preprocess: Preprocess, spec: ModelInput, notes: list[str]) -> Preprocess:
    """Fill in size and layout from the model's input.

    Args:
        preprocess: The configured preprocessing.
        spec: The model input.
        notes: Gets sentences on what was decided.

    Returns:
        The preprocessing with size and layout.

    Raises:
        BadData: The preprocessing and the input contradict each other.
    """
    sample = spec.sample_shape
    if len(sample) != 3:
        raise BadData(
            f"The model input {spec.name!r} has shape {spec.shape}, which is not that of a batch of images.",
            "Give the samples as .npy or .npz.",
        )
    layout = preprocess.layout or _layout(spec)
    depth, size = (sample[0], sample[1:]) if layout == "nchw" else (sample[2], sample[:2])
    if isinstance(depth, int) and depth != preprocess.depth:
        raise BadData(
            f"The model input {spec.name!r} takes {depth} channels, but the preprocessing makes {preprocess.depth}.",
            'Set channels in [preprocess] ("rgb", "bgr" or "gray"), or for a grayscale model the preset gray '
            "(--preprocess, preprocess=)."
            if depth in (1, 3)
            else "Give the samples as .npy or .npz.",
        )
    known = tuple(d if isinstance(d, int) else None for d in size)
    wanted = preprocess.size
    if wanted is None:
        usual = LETTERBOX_SIZE if preprocess.resize == "letterbox" else NO_SPATIAL_SIZE
        wanted = (known[0] or usual[0], known[1] or usual[1])
        if None in known:
            notes.append(
                f"The model's height and width are dynamic: images are resized to {wanted[0]}x{wanted[1]}; --size "
                "HEIGHTxWIDTH says otherwise."
            )
    elif any(k is not None and k != w for k, w in zip(known, wanted, strict=True)):
        raise BadData(
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
    first, _, last = spec.sample_shape
    if first in channels:
        return "nchw"
    if last in channels:
        return "nhwc"
    if isinstance(first, str) and isinstance(last, str):
        return "nchw"
    raise BadData(
        f"The model input {spec.name!r} has shape {spec.shape}: neither its "
        f"{'first' if spec.batch_axis is None else 'second'} nor its last dimension is 1 or 3 channels.",
        "Give the samples as .npy or .npz.",
    )
