"""Opens ONNX files, checks them, and describes their inputs and outputs."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnx.external_data_helper import uses_external_data

from quantkit.core.errors import BadModel
from quantkit.core.files import Stamp, sha256_of, stamps_of
from quantkit.core.reading import check_regular
from quantkit.core.wording import line_of, path_meant
from quantkit.graph.batch_axes import BatchAxis, with_batch_axes
from quantkit.graph.graph import LARGEST_KEPT, Graph, subgraphs
from quantkit.graph.lookup import rows_indexed
from quantkit.graph.model_io import ModelInput, check_input, described
from quantkit.graph.normal_form.rewrite import in_normal_form
from quantkit.graph.quantized import quantization_of
from quantkit.graph.save import MODEL_FILE, save_model
from quantkit.graph.untrusted import check_external, check_model, check_size, check_weights

OLDEST_OPSET = 7  # the oldest that ONNX upgrades


class Rewritten:
    """A temporary copy of a model in normal form. Its files live as long as this does.

    Attributes:
        file: The copy.
        external: True if its weights are in a file beside it.
        done: What was done to the model, in words.
    """

    def __init__(self, proto: onnx.ModelProto, done: tuple[str, ...]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="quantkit-")
        save_model(proto, Path(self._folder.name))
        self.file = Path(self._folder.name) / MODEL_FILE
        self.external = len(list(self.file.parent.iterdir())) > 1
        self.done = done


@dataclass(frozen=True)
class OtherFile:
    """A kind of file that people give for an ONNX model.

    Attributes:
        suffixes: How its name ends.
        what: What it is.
        hint: What to do with it.
    """

    suffixes: tuple[str, ...]
    what: str
    hint: str


OTHER_FILES = (
    OtherFile(
        (".pt", ".pth", ".pt2", ".safetensors"),
        "PyTorch's",
        "Export the model: torch.onnx.export(model, inputs, 'model.onnx', dynamo=True).",
    ),
    OtherFile(
        (".h5", ".keras", ".pb", ".tflite"), "TensorFlow's", "Export the model with tf2onnx: python -m tf2onnx.convert."
    ),
    OtherFile(
        (".xml", ".bin"),
        "OpenVINO's",
        "Give the ONNX model that it was made from; quantkit export writes OpenVINO's IR.",
    ),
    OtherFile(
        (".engine", ".plan", ".trt"),
        "TensorRT's",
        "Give the ONNX model that it was built from; quantkit build makes engines.",
    ),
    OtherFile(
        (".cache",), "a calibration cache", "Read it with: quantkit convert FILE.cache --to json --model MODEL.onnx."
    ),
)


@dataclass(frozen=True)
class ModelFile:
    """A checked ONNX file.

    Attributes:
        path: The file.
        graph_only: The model without the data of larger weights.
        inputs: The inputs.
        outputs: The outputs.
        opset: The version of ONNX's own operators.
        external_files: The files of external weights.
        weights: Replacements for initializers of the file, by name; see :meth:`with_weights`.
        rewritten: The same model in normal form; None if the file is.
        stamps: What identified each file on the disk when it was opened.
    """

    path: Path
    graph_only: onnx.ModelProto
    inputs: tuple[ModelInput, ...]
    outputs: tuple[ModelInput, ...]
    opset: int
    external_files: tuple[Path, ...]
    weights: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    stamps: tuple[Stamp, ...] = ()
    rewritten: Rewritten | None = field(default=None, compare=False, repr=False)

    @property
    def source(self) -> Path:
        """The file to read the graph and its weights from: the user's, or a temporary one in normal form."""
        return self.path if self.rewritten is None else self.rewritten.file

    @property
    def is_external(self) -> bool:
        """True if the weights of :attr:`source` are in other files."""
        return bool(self.external_files) if self.rewritten is None else self.rewritten.external

    @property
    def fixed_batch(self) -> int | None:
        """The batch size that the model requires, 1 if it is not certain that it has a batch; None if it is dynamic."""
        batches = {own.batch for own in self.inputs} - {None}
        numbers = {size for size in batches if isinstance(size, int)}
        if numbers:
            return max(numbers)
        return None if batches and all(own.certain for own in self.inputs) else 1

    @property
    def batch_axes(self) -> dict[str, int | None]:
        """The batch axis of each input; None for an input without one."""
        return {own.name: own.batch_axis for own in self.inputs}

    @property
    def size_bytes(self) -> int:
        """The size on disk in bytes, including external weights."""
        return sum(path.stat().st_size for path in (self.path, *self.external_files))

    def sha256(self) -> str:
        """Return the hex SHA-256 of the file and its external weights. Raises BadModel if they changed meanwhile."""
        digest = sha256_of(self.path, *self.external_files)
        self.check_unchanged()
        return digest

    def check_unchanged(self) -> None:
        """Raise BadModel if a file is another one than when the model was opened.

        To be called after each reading of the files, so that what was read has the digest that is recorded.
        """
        if self.stamps and stamps_of(self.path, *self.external_files) != self.stamps:
            raise BadModel(f"{self.path} has changed since it was opened.", "Give the command again.")

    def load(self) -> onnx.ModelProto:
        """Return a new copy with all weights, which may be edited; the file itself is never written.

        Raises BadModel if the file has changed since it was opened, or a weight is not finite.
        """
        proto = onnx.load(str(self.source))
        self.check_unchanged()
        check_weights(proto, self.path)
        for tensor in proto.graph.initializer:
            if tensor.name in self.weights:
                tensor.CopyFrom(numpy_helper.from_array(np.asarray(self.weights[tensor.name]), tensor.name))
        return proto

    def with_weights(self, weights: Mapping[str, npt.NDArray[Any]]) -> ModelFile:
        """Return the same model with replaced initializers.

        Args:
            weights: The new values by initializer, with the same shapes; they replace all earlier ones.

        Raises:
            BadModel: The model has no initializer of this name, shape and dtype, or a value is not finite.
        """
        known = {tensor.name: tensor for tensor in self.graph_only.graph.initializer}
        for name, values in weights.items():
            own = known.get(name)
            dtype, shape = getattr(values, "dtype", type(values).__name__), getattr(values, "shape", ())
            if own is None or tuple(own.dims) != shape or onnx.helper.tensor_dtype_to_np_dtype(own.data_type) != dtype:
                raise BadModel(
                    f"{self.path} has no weight {name!r} of shape {shape} and type {dtype}.",
                    "Give an array like the initializer that it stands in for.",
                )
            if not np.isfinite(values).all():
                raise BadModel(f"The weight {name!r} is not finite everywhere.", "Give finite numbers.")
        return replace(self, weights=dict(weights))


def open_model(path: Path, batch_axis: BatchAxis = None, quantized_too: bool = False) -> ModelFile:
    """Read and check a floating-point ONNX file.

    Args:
        path: The file.
        batch_axis: Where the samples of a batch lie, if the user says so; see ``batch_axes.py``.
        quantized_too: Accept a model that is quantized already, as it stands, to look at it.

    Returns:
        The checked file.

    Raises:
        BadModel: The file is missing, not ONNX, truncated, already quantized (unless ``quantized_too``), without
            inputs, or of an opset older than
            OLDEST_OPSET; an input is of a type that cannot be fed; or its external data is missing or outside its
            folder.
        BadConfig: The model has no such batch axis.
    """
    stamps = stamps_of(path)
    proto = read_graph(path)
    opset = opset_of(proto)
    check_model(proto, path, opset)
    external = external_files_of(path, proto)
    if 0 < opset < OLDEST_OPSET:
        raise BadModel(f"{path} has opset {opset}, older than {OLDEST_OPSET}.", "Export it with a newer opset.")
    quantization = quantization_of(proto)
    if quantization is not None and not quantized_too:
        raise BadModel(
            f"{path} is quantized already ({quantization.describe()}).",
            f"Give the floating-point model; {quantization.ways(path)}.",
        )
    normal = None if quantization is not None else in_normal_form(path, proto, opset)
    rewritten = None if normal is None else Rewritten(*normal)
    if normal is not None:
        proto, opset = normal[0], opset_of(normal[0])
    graph = Graph(proto.graph)
    if not graph.inputs:
        raise BadModel(f"{path} has no inputs.", "Export it with its input as a graph input.")
    stamps += stamps_of(*external)
    for value in graph.inputs.values():
        check_input(value)
    given = [replace(described(own), rows=rows_indexed(graph, own.name)) for own in graph.inputs.values()]
    declared = given, [described(out) for out in proto.graph.output]
    graph_only = without_weights(proto)
    return ModelFile(
        path,
        graph_only,
        *with_batch_axes(graph_only, *declared, batch_axis),
        opset,
        external,
        rewritten=rewritten,
        stamps=stamps,
    )


def read_graph(path: Path) -> onnx.ModelProto:
    """Read any ONNX file, quantized or not, without its external data.

    Raises:
        BadModel: The file is missing, not ONNX or truncated.
    """
    if not path.exists():
        raise BadModel(f"There is no model {path}.", f"{path_meant(path, path.suffix)}Give the path of an ONNX file.")
    if path.is_dir():
        raise BadModel(f"{path} is a folder, not a model.", "Give the path of an ONNX file.")
    check_regular(path, BadModel, "model")
    other = next((own for own in OTHER_FILES if path.name.lower().endswith(own.suffixes)), None)
    if other is not None:
        raise BadModel(f"{path} is {other.what}, not an ONNX model.", other.hint)
    try:
        proto = onnx.load(str(path), load_external_data=False)
    except Exception as error:
        raise BadModel(
            f"{path} is not an ONNX model, or is truncated ({line_of(error)}).", "Export it to ONNX again."
        ) from error
    if not proto.graph.node or not proto.opset_import or not proto.graph.output:
        raise BadModel(f"{path} is not an ONNX model, or is truncated (it has no graph).", "Export it to ONNX again.")
    check_size(proto, path)
    return proto


def opset_of(proto: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators that a model uses; 0 if it states none."""
    return max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=0)


def external_file_of(tensor: onnx.TensorProto, folder: Path) -> Path:
    """Return the file that holds a tensor's external data.

    Args:
        tensor: A tensor with external data.
        folder: The folder of the model.

    Raises:
        BadModel: The file is missing or outside the folder.
    """
    location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
    if not location or "\0" in location:
        raise BadModel(f"The weight {tensor.name!r} has external data in no file ({location!r}).", "Export it again.")
    file: Path = folder / location
    if not file.resolve().is_relative_to(folder.resolve()):
        raise BadModel(
            f"The model's weight {tensor.name!r} lies outside the model's folder ({file}).",
            "Put the external data file beside the model.",
        )
    if not file.is_file():
        raise BadModel(f"The model's external data file {file} is missing.", "Put it beside the model.")
    check_external(tensor, file)
    return file


def without_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which initializers of more than LARGEST_KEPT values keep only name, shape and type.

    Their data is never copied, so that this also works above protobuf's limit of 2 GB. ``proto`` is not changed.
    """
    bare = onnx.ModelProto(ir_version=proto.ir_version)
    bare.opset_import.extend(proto.opset_import)
    bare.functions.extend(proto.functions)
    bare.metadata_props.extend(proto.metadata_props)
    bare.graph.name = proto.graph.name or "graph"  # checkers require a name
    for repeated in ("node", "input", "output", "value_info", "sparse_initializer"):
        getattr(bare.graph, repeated).extend(getattr(proto.graph, repeated))
    for tensor in proto.graph.initializer:
        if math.prod(tensor.dims) > LARGEST_KEPT:
            bare.graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        else:
            bare.graph.initializer.append(tensor)
    return bare


def external_files_of(path: Path, proto: onnx.ModelProto) -> tuple[Path, ...]:
    """Return the files of a model's external weights. Raises BadModel if one is missing or outside the folder."""
    external = (tensor for tensor in _tensors(proto.graph) if uses_external_data(tensor))
    return tuple(sorted({external_file_of(tensor, path.parent) for tensor in external}))


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield every constant of the graph and of the graphs inside it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
        for inner in subgraphs(node):
            yield from _tensors(inner)
