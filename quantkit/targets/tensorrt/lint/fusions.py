"""Rules about TensorRT's fusions: Conv and activation, Conv and residual Add, Conv and BatchNormalization."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from quantkit.graph.graph import label, operand, result
from quantkit.graph.operators import ACTIVATIONS, CONVOLUTIONS, QUANTIZE, WEIGHTED
from quantkit.targets.tensorrt.lint.finding import Finding
from quantkit.targets.tensorrt.lint.view import View
from quantkit.targets.tensorrt.unbinds import unbinds


def fusions(view: View) -> Iterator[Finding]:
    """Yield the findings of all rules of this file."""
    for rule in (_inside, _clips, _unbinds, _residual_adds, _sums, _batch_norms):
        yield from rule(view)


def residual_inputs(view: View, add: onnx.NodeProto) -> tuple[list[str], list[str]]:
    """Return the inputs of an Add that come straight from a weighted layer, and the others.

    Both are empty for an Add of a constant, and for any other node.
    """
    inputs = view.activations(add)
    if add.op_type != "Add" or len(inputs) != 2:
        return [], []
    straight = [name for name in inputs if _straight(view, name) is not None]
    return straight, [name for name in inputs if name not in straight]


def is_fused(view: View, add: onnx.NodeProto) -> bool:
    """True if an Add runs inside the INT8 kernel of the weighted layer before it."""
    return any(
        view.dequantize(name) is None and (layer := _straight(view, name)) is not None and view.in_int8(layer)
        for name in residual_inputs(view, add)[0]
    )


def _straight(view: View, name: str) -> onnx.NodeProto | None:
    """Return the weighted layer that a tensor comes from.

    Only the layer's bias and BatchNormalization may be in between, and the tensor must have only one user; otherwise,
    the result is None.
    """
    tensor = view.unpaired(name)
    for _ in range(3):
        direct = view.consumers(tensor)
        users = [
            user for node in direct for user in (view.users_after_pair(node) if node.op_type == QUANTIZE else [node])
        ]
        if len(direct) > 1 or len(users) > 1 or tensor in view.graph.outputs:
            return None
        node = view.graph.producer(tensor)
        if node is None or node.op_type in WEIGHTED:
            return node
        if node.op_type != "BatchNormalization" and not _adds_bias(view, node):
            return None
        inputs = view.activations(node)
        tensor = inputs[0] if inputs else ""
    return None


def _adds_bias(view: View, node: onnx.NodeProto) -> bool:
    return node.op_type == "Add" and len(view.activations(node)) == 1


def _inside(view: View) -> Iterator[Finding]:
    """Find pairs between a weighted layer and an activation, normalization or bias that its kernel also computes."""
    for node in view.graph.of_type(QUANTIZE):
        layer = view.graph.producer(operand(node, 0))
        if layer is None or layer.op_type not in WEIGHTED:
            continue
        for user in view.users_after_pair(node):
            if user.op_type in ACTIVATIONS | {"BatchNormalization"} or _adds_bias(view, user):
                what = (
                    f"The pair of {label(node)!r} stands between {layer.op_type} {label(layer)!r} and "
                    f"{user.op_type} {label(user)!r}, which would be one kernel."
                )
                yield Finding("pair-inside-fusion", (label(node), label(layer), label(user)), what)
                break


def _clips(view: View) -> Iterator[Finding]:
    """Find Clips between a floating-point Conv and a pair.

    This was measured with TensorRT 8.6 on an H200: see ``qdq/saturating_clips.py``.
    """
    for clip in view.graph.of_type("Clip"):
        conv = view.maker(operand(clip, 0))
        if conv is None or conv.op_type not in CONVOLUTIONS or view.in_int8(conv):
            continue
        if any(user.op_type == QUANTIZE for user in view.users_of_outputs(clip)):
            what = (
                f"Clip {label(clip)!r} stands between {conv.op_type} {label(conv)!r}, in floating point, and a pair: "
                "TensorRT 8.6 gave wrong answers for that."
            )
            yield Finding("clip-behind-float", (label(clip), label(conv)), what)


def _unbinds(view: View) -> Iterator[Finding]:
    """Find tensors of floating-point layers that a Split takes apart: see ``targets/tensorrt/unbinds.py``."""
    for split in unbinds(view.graph):
        layer = view.maker(operand(split, 0))
        if layer is not None and layer.op_type == "Add":  # of a bias
            layer = next((view.maker(name) for name in view.activations(layer)), None)
        if layer is not None and layer.op_type in WEIGHTED and not view.in_int8(layer):
            what = (
                f"Split {label(split)!r} takes apart what {layer.op_type} {label(layer)!r} gives in floating point: "
                "TensorRT 8.6 gave wrong answers for an attention of such parts at batch 1."
            )
            yield Finding("unbound-by-split", (label(split), label(layer)), what)


def _residual_adds(view: View) -> Iterator[Finding]:
    """Find fused Adds without a pair on the skip input, or with one on the branch that comes straight from a Conv."""
    for add in view.graph.of_type("Add"):
        straight, skips = residual_inputs(view, add)
        paired = [name for name in straight if view.dequantize(name) is not None]
        if straight and len(paired) == len(straight):
            layers = [layer for name in straight if (layer := _straight(view, name)) is not None]
            what = (
                f"Add {label(add)!r} takes {layers[0].op_type} {label(layers[0])!r} through a pair, which keeps them "
                "from being one kernel."
            )
            yield Finding("pair-on-fused-branch", (label(add), *map(label, layers)), what)
        elif is_fused(view, add):
            layers = [layer for name in straight if (layer := _straight(view, name)) is not None]
            if not any(layer.op_type in CONVOLUTIONS for layer in layers):
                continue  # a matrix product adds no INT8 residual; a LayerNormalization needs the exact sum
            bare = [name for name in skips if view.dequantize(name) is None]
            if bare or len(straight) - len(paired) > 1:
                skip = bare[0] if bare else straight[-1]
                what = f"Add {label(add)!r} is fused with an INT8 layer but takes {skip!r} in floating point."
                yield Finding("skip-without-pair", (label(add),), what)


def _sums(view: View) -> Iterator[Finding]:
    """Find sums that no Conv is fused with and whose inputs stay in floating point, though no user needs that."""
    for add in view.graph.of_type("Add"):
        straight, others = residual_inputs(view, add)
        bare = [name for name in others if view.dequantize(name) is None]
        shared = [name for name in bare if any(user.op_type == QUANTIZE for user in view.users(view.origin(name)))]
        if shared and not straight and _is_only_rounded(view, add):
            what = (
                f"Add {label(add)!r} takes {shared[0]!r} in floating point, and other layers take it through a pair: "
                "a kernel of its own rounds it."
            )
            yield Finding("sum-to-float", (label(add),), what)


def _is_only_rounded(view: View, add: onnx.NodeProto) -> bool:
    """True if every user of a sum quantizes it, or is a sum for which this is true."""
    outputs = {view.origin(name) for name in view.graph.outputs}
    waiting, seen = [add], {id(add)}
    while waiting:
        node = waiting.pop()
        users = view.users_of_outputs(node)
        if not users or outputs.intersection(node.output):
            return False
        for user in users:
            if user.op_type == "Add" and len(view.activations(user)) == 2:
                if id(user) not in seen:
                    seen.add(id(user))
                    waiting.append(user)
            elif user.op_type != QUANTIZE:
                return False
    return True


def _batch_norms(view: View) -> Iterator[Finding]:
    """Find BatchNormalizations after a quantized layer.

    TensorRT fuses them, but the scales of a weight that was quantized before do not include the gain.
    """
    for norm in view.graph.of_type("BatchNormalization"):
        layer = view.graph.producer(operand(norm, 0))
        if layer is not None and layer.op_type in CONVOLUTIONS and view.in_int8(layer):
            what = (
                f"BatchNormalization {label(norm)!r} follows the quantized {layer.op_type} {label(layer)!r}: it is "
                f"fused, and {result(layer)!r} is of INT32 sums before it."
            )
            yield Finding("batch-norm-unfolded", (label(norm), label(layer)), what)
