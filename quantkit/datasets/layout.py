"""Tells how samples lie in an array, so that no sample is ever cut or mixed with another.

A model input has a shape, and mostly a batch axis along which samples are stacked. An array for it may be

- ``(samples, *sample shape)``, where the sample shape lacks the batch axis; for an input without a batch axis it is the
  whole shape;
- in the model's own layout, with the samples along the batch axis;
- ``(runs, *shape)``: rows of exactly the model's shape, with one sample or the model's fixed batch in each;
- those rows one after the other, which is ``(runs * size, ...)`` for a first dimension of a fixed size;
- one value of the sample shape, or a single number, which is the same for all samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadData
from quantkit.graph.model_io import ModelInput, fits

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Samples:
    """The samples of one input.

    Attributes:
        rows: The samples along the first axis.
        shared: True if there is a single value, which may stand for all samples.
    """

    rows: Array
    shared: bool

    def repeated(self, count: int) -> Array:
        """Return the rows; a shared value is repeated without a copy."""
        return np.broadcast_to(self.rows, (count, *self.rows.shape[1:])) if len(self.rows) != count else self.rows


def samples_in(array: Array, spec: ModelInput, source: str) -> Samples:
    """Return the samples that an array holds for an input.

    Args:
        array: The whole array.
        spec: The input.
        source: What error messages call the data.

    Returns:
        The samples.

    Raises:
        BadData: The array does not fit the input, or can be read in two ways.
    """
    found = _rows(array, spec)
    own = _in_own_layout(array, spec)
    if found is not None and own is not None and array.size and len(found) > 1:
        raise BadData(
            f"{source} gives {spec.name!r} an array of shape {array.shape}, whose samples may lie along axis 0 or "
            f"axis {spec.batch_axis}.",
            f"Save it with one more dimension, as (samples, {', '.join(map(str, spec.shape))}) with a batch of 1.",
        )
    for rows in (found, own, _of_runs(array, spec), _of_joined_runs(array, spec)):
        if rows is not None:
            return Samples(rows, len(rows) == 1)
    one = _one_value(array, spec)
    if one is not None:
        return Samples(one[None], True)
    raise _misfit(array, spec, source)


def told(spec: ModelInput) -> str:
    """Say where the samples of a batch lie in an input, if it is not the first axis; to end a sentence."""
    if not spec.shape or spec.batch_axis == 0:
        return ""
    along = f", with the samples of a batch along axis {spec.batch_axis}"
    return ", one sample a run" if spec.batch_axis is None else along


def batch_in(array: Array, spec: ModelInput) -> Array | None:
    """Return the samples of one batch along the first axis; None if the array is a single sample.

    Samples and batches of an iterable are told apart by their number of dimensions.
    """
    if spec.takes(array.shape) or _one_value(array, spec) is not None:
        return None
    if spec.batch_axis is None:
        return array if array.ndim == len(spec.shape) + 1 else None
    return np.moveaxis(array, spec.batch_axis, 0) if array.ndim == len(spec.shape) else None


def as_sample(array: Array, spec: ModelInput) -> Array:
    """Return one sample, in which a single number may have any number of dimensions."""
    one = None if spec.takes(array.shape) else _one_value(array, spec)
    return array if one is None else one


def _rows(array: Array, spec: ModelInput) -> Array | None:
    sample = spec.sample_shape
    if array.ndim == 1 and all(size == 1 for size in sample):  # a number for each sample
        return array.reshape(-1, *(1 for _ in sample))
    return array if array.ndim > 0 and fits(array.shape[1:], sample) else None


def _in_own_layout(array: Array, spec: ModelInput) -> Array | None:
    axis = spec.batch_axis
    if axis is None or axis == 0 or array.ndim != len(spec.shape):
        return None
    rows = np.moveaxis(array, axis, 0)
    return rows if fits(rows.shape[1:], spec.sample_shape) else None


def _of_runs(array: Array, spec: ModelInput) -> Array | None:
    """Return the samples of rows that have the model's whole shape, with a batch of one or of the fixed size."""
    axis = spec.batch_axis
    if axis is None or array.ndim != len(spec.shape) + 1:
        return None
    runs = np.moveaxis(array, 1 + axis, 1)
    fixed = spec.batch if isinstance(spec.batch, int) else 1
    if runs.shape[1] not in (1, fixed) or not fits(runs.shape[2:], spec.sample_shape):
        return None
    return runs.reshape(-1, *runs.shape[2:])


def _of_joined_runs(array: Array, spec: ModelInput) -> Array | None:
    """Return the samples of runs that follow one another along a first dimension of fixed size."""
    first = spec.shape[0] if spec.shape else 1
    if not isinstance(first, int) or not spec.certain or spec.batch_axis == 0 or array.ndim != len(spec.shape):
        return None
    if array.ndim == 0 or len(array) % first or len(array) == first:
        return None
    runs = array.reshape(-1, first, *array.shape[1:])
    return _rows(runs, spec) if spec.batch_axis is None else _of_runs(runs, spec)


def _one_value(array: Array, spec: ModelInput) -> Array | None:
    """Return the value that all samples share; None if the array is none."""
    sample = spec.sample_shape
    if array.size == 1 and all(size == 1 for size in sample):
        return array.reshape((1,) * len(sample))
    told = spec.certain or not isinstance(spec.shape[0], str)
    return array if told and fits(array.shape, sample) else None


def _misfit(array: Array, spec: ModelInput, source: str) -> BadData:
    if not spec.certain:
        return BadData(
            f"{source} gives {spec.name!r} an array of shape {array.shape}, and the model's shape {spec.shape} does "
            "not show along which axis samples are stacked.",
            'Say it (--batch-axis, batch_axis=, or [model] batch_axis): an axis, or "none" if a run takes one sample. '
            f"An array of shape (samples, {', '.join(map(str, spec.shape))}) needs no word.",
        )
    return BadData(
        f"{source} gives {spec.name!r} samples of shape {array.shape[1:]}, but the model takes {spec.sample_shape}.",
        f"Save the array in the model's own shape and layout, as (samples, {', '.join(map(str, spec.sample_shape))}).",
    )
