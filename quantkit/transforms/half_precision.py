"""Conversion to FP16 weights and arithmetic with FP32 inputs and outputs, by onnxruntime's converter.

Before it, what FP16 cannot hold is folded (``folding``) or stays in FP32 (``beyond_half``).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from quantkit.core.errors import TargetRefuses
from quantkit.core.ranges import LARGEST_HALF, TensorRange
from quantkit.core.wording import line_of, some
from quantkit.graph.cpu_kernels import CpuKernels, key_of
from quantkit.graph.graph import Graph, Use, attribute, captured_names, held_tensor, names_in, subgraphs, unique_name
from quantkit.graph.model_file import ModelFile, opset_of, without_weights
from quantkit.graph.normal_form.sorting import sort_nodes
from quantkit.graph.operators import is_default_domain, is_foreign
from quantkit.graph.renaming import rename
from quantkit.transforms.batch_transposes import transpose_in_float
from quantkit.transforms.beyond_half import beyond_half
from quantkit.transforms.folding import fold_batch_norms, simplify_batch_norms
from quantkit.transforms.prepare import constants_to_initializers, drop_constant_inputs, ensure_names, name_own_domain

BLOCKED_FOR_ONNXRUNTIME = {"Max", "Min"}  # the converter leaves them in FP32 because of onnxruntime's kernels
FLOAT_ONLY = {
    "BitCast", "BlackmanWindow", "DynamicQuantizeLinear", "EyeLike", "HammingWindow", "HannWindow", "MelWeightMatrix",
}  # fmt: skip
REFUSED_NODE = re.compile(r"node name: ([^)]+)\)")
MOST_REFUSED = 32
# The names of casts and their tensors, in onnxruntime 1.24 and newer and in older ones.
CONVERTERS_OWN = re.compile(r".*(^|_)(input|output)_cast_?\d+$|.*_cast_to_(fp16|fp32|bfloat16)(_node)?$")
TO_HALF = re.compile(r"(.*_cast_to_fp16_node|.*_output_cast\d+|graph_input_cast\d+)$")
TO_FLOAT = re.compile(r"(.*_cast_to_fp32_node|.*_input_cast\d+|graph_output_cast\d+)$")


@dataclass(frozen=True, eq=False)
class Half:
    """An FP16 model.

    Attributes:
        proto: The model.
        kept: The nodes that stay in FP32, each with what FP16 cannot hold.
    """

    proto: onnx.ModelProto
    kept: Mapping[str, str]

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on what stays in FP32, and one on constants that were cut."""
        notes = []
        if self.kept:
            reasons = list(dict.fromkeys(self.kept.values()))
            nodes = "1 node stays" if len(self.kept) == 1 else f"{len(self.kept)} nodes stay"
            notes.append(
                f"{nodes} in FP32 ({some(list(self.kept))}), because FP16 does not hold everything: {some(reasons)}."
            )
        cut = [name for name, value in half_constants(self.proto.graph) if (np.abs(value) == LARGEST_HALF).any()]
        if cut:
            notes.append(f"Beyond FP16, so cut to ±65504: {len(cut)} constants ({some(cut)}).")
        return tuple(notes)


def half_precision(
    model: ModelFile, strongly_typed: bool = False, ranges: Mapping[str, TensorRange] | None = None
) -> Half:
    """Convert a model to FP16 with FP32 inputs and outputs, at its own opset.

    Operators without an FP16 form (TopK, CumSum, NonMaxSuppression, RoiAlign) stay in FP32 between casts, and so does
    what FP16 cannot hold.

    Args:
        model: The model.
        strongly_typed: False converts for onnxruntime, because of whose kernels Max and Min stay in FP32, too. True
            converts for runtimes that compute each layer in the type of its tensors; see ``strongly_typed_half``.
        ranges: The calibrated ranges by tensor, which tell which tensors FP16 cannot hold.

    Returns:
        The converted copy.

    Raises:
        TargetRefuses: The model cannot be converted.
    """
    if strongly_typed:
        return strongly_typed_half(model.load(), str(model.path), ranges)
    try:
        half = _without_refused(
            model.load, lambda proto, kept: _converted(proto, set(), kept, infer=not model.is_external), ranges or {}
        )
        transpose_in_float(half.proto.graph)
        return half
    except Exception as error:
        raise TargetRefuses(
            f"{model.path} cannot be converted to FP16 ({line_of(error) or type(error).__name__}).",
            "Leave fp16 out of the precisions.",
        ) from error


def strongly_typed_half(proto: onnx.ModelProto, called: str, ranges: Mapping[str, TensorRange] | None = None) -> Half:
    """Convert a model to FP16 with FP32 inputs and outputs, and check its types.

    Max and Min are converted, too, and so are numbers in Constant nodes and weights that are listed as graph inputs.

    Args:
        proto: The model; it is changed.
        called: The model's name in errors.
        ranges: The calibrated ranges by tensor, which tell which tensors FP16 cannot hold.

    Returns:
        The converted model.

    Raises:
        TargetRefuses: The model cannot be converted.
    """
    _numbers_to_tensors(proto.graph)

    def copied() -> onnx.ModelProto:
        copy = onnx.ModelProto()
        copy.CopyFrom(proto)
        return copy

    def convert(own: onnx.ModelProto, kept: Mapping[str, str]) -> onnx.ModelProto:
        # Without the weights' data, because protobuf refuses messages of 2 GB.
        inferred = shape_inference.infer_shapes(without_weights(own))
        del own.graph.value_info[:]
        own.graph.value_info.extend(inferred.graph.value_info)
        return _converted(own, BLOCKED_FOR_ONNXRUNTIME, kept, infer=False)

    try:
        return _without_refused(copied, convert, ranges or {})
    except Exception as error:
        raise TargetRefuses(
            f"{called} cannot be converted to FP16 ({str(error) or type(error).__name__}).",
            "Build it in FP32, or convert it with the tool that exported it.",
        ) from error


def _without_refused(
    load: Callable[[], onnx.ModelProto],
    convert: Callable[[onnx.ModelProto, Mapping[str, str]], onnx.ModelProto],
    ranges: Mapping[str, TensorRange],
) -> Half:
    """Convert a model, and once more without the node whose types then disagree, as often as there is one."""
    refused: dict[str, str] = {}
    while True:
        proto = load()
        kept = _prepare(proto, ranges) | refused
        half = convert(proto, kept | _foreign(proto))
        try:
            shape_inference.infer_shapes(without_weights(half), check_type=True, strict_mode=True)
        except Exception as error:
            name = REFUSED_NODE.search(str(error))
            if name is None or name[1] in kept or len(refused) > MOST_REFUSED:
                raise
            refused[name[1]] = f"the operator of {name[1]} has no form for it"
            continue
        return Half(half, kept)


def _prepare(proto: onnx.ModelProto, ranges: Mapping[str, TensorRange]) -> dict[str, str]:
    """Fold what can be folded; return the nodes that stay in FP32."""
    name_own_domain(proto)
    drop_constant_inputs(proto)
    constants_to_initializers(proto.graph)
    fold_batch_norms(proto.graph)
    simplify_batch_norms(proto.graph)
    ensure_names(proto.graph)
    view = Graph(proto.graph)
    training = [node for node in view.of_type("BatchNormalization") if attribute(node, "training_mode", 0)]
    # onnxruntime 1.32 ends its process on one in FP16.
    return beyond_half(view, ranges) | {node.name: f"{node.name} normalizes by its batch" for node in training}


def _foreign(proto: onnx.ModelProto) -> dict[str, str]:
    """Return the nodes that nobody but a plugin computes, which all of them do in FP32.

    Their outputs become FP32 in the graph, in place, where no type is stated and nobody reads integers there.
    """
    graph, kernels = proto.graph, CpuKernels(opset_of(proto))
    view = Graph(graph)
    found = [node for node in graph.node if is_foreign(node) and not kernels.has(key_of(node))]
    stated = {value.name for value in (*graph.value_info, *graph.output)}
    untyped = {name for node in found for name in node.output if name} - stated
    untyped = {name for name in untyped if _reads_float(view.consumers(name))}
    graph.value_info.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in sorted(untyped))
    return {node.name: "" for node in found}


def _reads_float(uses: Sequence[Use]) -> bool:
    """True if all consumers of a tensor take FP32; Casts alone, which take whatever they are given, tell nothing."""
    telling = [use for use in uses if use.node.op_type != "Cast"]
    for node, position in telling:
        if is_default_domain(node) and not is_foreign(node):
            formal = onnx.defs.get_schema(node.op_type).inputs
            if "tensor(float)" not in formal[min(position, len(formal) - 1)].types:
                return False
    return bool(telling)


def half_constants(graph: onnx.GraphProto) -> Iterator[tuple[str, npt.NDArray[np.float16]]]:
    """Yield the names and values of the FP16 initializers and Constant nodes of a graph and of the graphs inside it."""
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            yield tensor.name, numpy_helper.to_array(tensor)
    for node in graph.node:
        held = held_tensor(node)
        if held is not None and held.data_type == TensorProto.FLOAT16:
            yield node.output[0], numpy_helper.to_array(held)
        for inner in subgraphs(node):
            yield from half_constants(inner)


def _converted(proto: onnx.ModelProto, also: set[str], kept: Mapping[str, str], infer: bool) -> onnx.ModelProto:
    """Convert a model.

    ``also`` names operators to convert that the converter skips by default, ``kept`` nodes to leave in FP32; ``infer``
    lets it infer types.
    """
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    aside, passed = _set_aside(proto.graph), _passed_through(proto.graph)
    with warnings.catch_warnings():
        # There is a warning for every weight below FP16's smallest number. What matters is looked for in beyond_half.
        warnings.simplefilter("ignore")
        half: onnx.ModelProto = convert_float_to_float16(
            proto,
            keep_io_types=True,
            disable_shape_infer=not infer,
            op_block_list=sorted((set(DEFAULT_OP_BLOCK_LIST) | FLOAT_ONLY) - also),
            node_block_list=list(kept),
        )
    _join_islands(half.graph)
    for position, value in passed:
        half.graph.output.insert(position, value)
    _put_back(half.graph, aside)
    sort_nodes(half.graph)  # the converter appends casts at the end, which the standard does not allow
    return half


def _join_islands(graph: onnx.GraphProto) -> None:
    """Remove the casts to FP16 and back that the converter puts around and between nodes that stay in FP32."""
    to_half = [node for node in graph.node if _is_cast(node, TensorProto.FLOAT16, TO_HALF)]
    halves = {node.output[0]: node.input[0] for node in to_half}
    outputs = {value.name for value in graph.output}
    computed = {name for node in graph.node for name in node.output}
    captured = {name for node in graph.node for name in captured_names(node)}
    joined: dict[str, str] = {}
    for node in graph.node:
        if not _is_cast(node, TensorProto.FLOAT, TO_FLOAT) or node.input[0] not in halves:
            continue
        source, target = halves[node.input[0]], node.output[0]
        if {source, target} & captured:
            continue
        if target not in outputs:
            joined[target] = source
        elif source in computed and source not in joined:
            joined[source] = target  # what stays in FP32 gives the output itself
        else:
            continue
        node.output[0] = ""
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [joined.get(joined.get(name, name), joined.get(name, name)) for name in names]
    _drop_nodes(graph, lambda node: node.op_type == "Cast" and not node.output[0])
    read = {name for node in graph.node for name in (*node.input, *captured_names(node))} | outputs
    _drop_nodes(graph, lambda node: bool(node.output) and node.output[0] in halves.keys() - read)


def _drop_nodes(graph: onnx.GraphProto, is_needless: Callable[[onnx.NodeProto], bool]) -> None:
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node if not is_needless(node)]
    del graph.node[:]
    graph.node.extend(kept)
    made = {name for node in kept for name in node.output}
    known = [value for value in graph.value_info if value.name in made]
    del graph.value_info[:]
    graph.value_info.extend(known)


def _is_cast(node: onnx.NodeProto, to: int, named: re.Pattern[str]) -> bool:
    """True if a node is a Cast that the converter has inserted."""
    to_this = node.op_type == "Cast" and any(own.name == "to" and own.i == to for own in node.attribute)
    return to_this and named.match(node.name) is not None


def _set_aside(graph: onnx.GraphProto) -> dict[str, str]:
    """Rename tensors and nodes that have names which the converter gives; return old names by new one."""
    names = names_in(graph)
    new = {}
    for name in sorted(name for name in names if CONVERTERS_OWN.match(name)):
        new[name] = unique_name(names, f"{name}_of_the_model")
        names.add(new[name])
    rename(graph, new)
    nodes = {node.name for node in graph.node}
    for node in graph.node:
        if CONVERTERS_OWN.match(node.name):
            node.name = unique_name(nodes, f"{node.name}_of_the_model")
            nodes.add(node.name)
    return {after: before for before, after in new.items()}


def _passed_through(graph: onnx.GraphProto) -> list[tuple[int, onnx.ValueInfoProto]]:
    """Take the outputs that are inputs out of a graph, which the converter would name twice; return them with places.

    An output that is a constant is computed from it.
    """
    inputs = {value.name for value in graph.input}
    passed = [(number, value) for number, value in enumerate(graph.output) if value.name in inputs]
    left = [value for value in graph.output if value.name not in inputs]
    del graph.output[:]
    graph.output.extend(left)
    names = names_in(graph)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for value in graph.output:
        if value.name in constants:
            inside = unique_name(names, f"{value.name}_constant")
            names.add(inside)
            for node in graph.node:
                node.input[:] = [inside if name == value.name else name for name in node.input]
            constants[value.name].name = inside
            graph.node.append(onnx.helper.make_node("Identity", [inside], [value.name], name=f"{inside}_output"))
    return passed


def _put_back(graph: onnx.GraphProto, aside: Mapping[str, str]) -> None:
    """Give inputs and outputs their own names again; the converter's tensors of those names get others."""
    ports = {value.name for value in (*graph.input, *graph.output)}
    back = {after: before for after, before in aside.items() if after in ports}
    names = names_in(graph)
    rename(graph, {name: unique_name(names, f"{name}_") for name in back.values() if name in names})
    rename(graph, back)


def _numbers_to_tensors(graph: onnx.GraphProto) -> None:
    """Rewrite ``Constant(value_float=…)`` as a tensor, which the converter knows; the attribute is always FP32."""
    for node in graph.node:
        for inner in subgraphs(node):
            _numbers_to_tensors(inner)
        if any(own.name in ("value_float", "value_floats") for own in node.attribute):
            held = held_tensor(node)
            if held is not None:
                held.ClearField("name")
                del node.attribute[:]
                node.attribute.append(onnx.helper.make_attribute("value", held))
