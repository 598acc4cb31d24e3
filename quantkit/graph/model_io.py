"""A model's inputs and outputs: name, shape, dtype, and where the samples of a batch lie."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from quantkit.core.errors import BadModel

NUMPY_TYPES = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.DOUBLE: "float64",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.UINT16: "uint16",
    onnx.TensorProto.INT16: "int16",
    onnx.TensorProto.UINT32: "uint32",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.UINT64: "uint64",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.BOOL: "bool",
}
# What exporters call a dimension that was given no name.
UNNAMED = re.compile(r"\w*dim_\d+|unk__\d+|p2o\.DynamicDimension\.\d+|\?|-1")


@dataclass(frozen=True)
class ModelInput:
    """An input or output of a model.

    Attributes:
        name: The name.
        shape: The size of each dimension, or the name of a dynamic one.
        dtype: The name of the numpy dtype.
        batch_axis: The axis along which samples are stacked; None if a run takes exactly one sample.
        certain: False if the model does not show whether it has a batch axis; then ``batch_axis`` is None.
        rows: The number of rows of the table that the values of this input are looked up in; None if there is none.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    batch_axis: int | None = 0
    certain: bool = True
    rows: int | None = None

    @property
    def sample_shape(self) -> tuple[int | str, ...]:
        """The shape of one sample, without the batch axis."""
        axis = self.batch_axis
        return self.shape if axis is None else (*self.shape[:axis], *self.shape[axis + 1 :])

    @property
    def batch(self) -> int | str | None:
        """The size along the batch axis, or its name if it is dynamic; None without a batch axis."""
        return None if self.batch_axis is None or not self.shape else self.shape[self.batch_axis]

    def takes(self, sample_shape: Sequence[int]) -> bool:
        """True if samples of this shape (without the batch axis) fit."""
        return fits(sample_shape, self.sample_shape)


def fits(shape: Sequence[int], declared: Sequence[int | str]) -> bool:
    """True if an array of a shape fits a declared one, whose dynamic dimensions fit any size."""
    return len(declared) == len(shape) and all(
        isinstance(a, str) or a == b for a, b in zip(declared, shape, strict=True)
    )


def is_unnamed(size: int | str) -> bool:
    """True for a dynamic dimension without a name of its own."""
    return isinstance(size, str) and UNNAMED.fullmatch(size) is not None


def described(value: onnx.ValueInfoProto) -> ModelInput:
    """Describe an input or output as the graph declares it."""
    tensor = value.type.tensor_type
    shape = tuple(
        d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else d.dim_param or f"dim_{i}"
        for i, d in enumerate(tensor.shape.dim)
    )
    return ModelInput(value.name, shape, NUMPY_TYPES.get(tensor.elem_type, _type_name(value)))


def check_input(value: onnx.ValueInfoProto) -> None:
    """Raise BadModel for an input that no array can be fed to."""
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type" or value.type.tensor_type.elem_type not in NUMPY_TYPES:
        raise BadModel(
            f"The model input {value.name!r} is of type {_type_name(value)}, which quantkit cannot feed.",
            "Export the model with inputs of floating-point numbers, integers or booleans.",
        )
    if not value.type.tensor_type.HasField("shape"):
        raise BadModel(
            f"The model input {value.name!r} does not say how many dimensions it has.",
            "Export the model with a shape for each input; sizes in it may be dynamic.",
        )


def _type_name(value: onnx.ValueInfoProto) -> str:
    kind = value.type.WhichOneof("value") or "unknown"
    if kind != "tensor_type":
        return kind.removesuffix("_type")
    known = onnx.TensorProto.DataType.items()
    return next((name.lower() for name, number in known if number == value.type.tensor_type.elem_type), "unknown")
