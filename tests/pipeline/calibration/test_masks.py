"""-Inf in a mask is the model's own: such tensors stay in floating point, and all others are calibrated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import quantkit as qk
from quantkit.core.errors import BadData

TOKENS, WIDTH = 6, 8
RNG = np.random.default_rng(5)


def constant(name: str, values: object, dtype: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def added() -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """A causal mask that is added to the scores."""
    return [helper.make_node("Add", ["scores", "mask"], ["masked"])], [
        constant("mask", np.triu(np.full((TOKENS, TOKENS), -np.inf), 1))
    ]


def chosen() -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """A Where that puts -Inf beside the scores."""
    return [helper.make_node("Where", ["seen", "scores", "nothing"], ["masked"])], [
        constant("seen", np.tri(TOKENS), bool),
        constant("nothing", -np.inf),
    ]


def computed() -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The logarithm of a mask of ones and zeros, which depends on the input."""
    nodes = [
        helper.make_node("Mul", ["scores", "zero"], ["none"]),
        helper.make_node("Add", ["none", "ones"], ["kept"]),
        helper.make_node("Log", ["kept"], ["logarithm"]),
        helper.make_node("Add", ["scores", "logarithm"], ["masked"]),
    ]
    return nodes, [constant("zero", 0), constant("ones", np.tri(TOKENS))]


def attention(mask: object) -> onnx.ModelProto:
    """Two layers' worth of scores behind one mask, Softmax and a product."""
    nodes, constants = mask()  # type: ignore[operator]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "wq"], ["q"]),
            helper.make_node("Transpose", ["x"], ["k"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["q", "k"], ["scores"]),
            *nodes,
            helper.make_node("Identity", ["masked"], ["same"]),
            helper.make_node("Softmax", ["same"], ["attention"], axis=-1),
            helper.make_node("MatMul", ["attention", "x"], ["context"]),
            helper.make_node("MatMul", ["context", "wo"], ["y"]),
        ],
        "attention",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", TOKENS, WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", TOKENS, WIDTH])],
        [
            constant("wq", RNG.standard_normal((WIDTH, WIDTH))),
            constant("wo", RNG.standard_normal((WIDTH, WIDTH))),
            *constants,
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def padded() -> onnx.ModelProto:
    """Padding with -Inf in front of MaxPool, and a Clip that makes it finite again."""
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["conv"]),
            helper.make_node("Pad", ["conv", "pads", "nothing"], ["padded"]),
            helper.make_node("Clip", ["padded", "least"], ["clipped"]),
            helper.make_node("MaxPool", ["padded"], ["pooled"], kernel_shape=[3, 3]),
            helper.make_node("Conv", ["pooled", "v"], ["y"]),
        ],
        "padded",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 8, 8]),
            helper.make_tensor_value_info("clipped", TensorProto.FLOAT, ["N", 4, 10, 10]),
        ],
        [
            constant("w", RNG.standard_normal((4, 3, 1, 1))),
            constant("v", RNG.standard_normal((4, 4, 1, 1))),
            constant("pads", [0, 0, 1, 1, 0, 0, 1, 1], np.int64),
            constant("nothing", -np.inf),
            constant("least", -3.0),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("mask", "masked"),
    [
        (added, {"masked", "same"}),
        (chosen, {"masked", "same"}),
        (computed, {"logarithm", "masked", "same"}),
    ],
)
def test_every_masked_tensor_is_left_out_and_named_at_once(tmp_path: Path, mask: object, masked: set[str]) -> None:
    onnx.save(attention(mask), tmp_path / "m.onnx")
    data = RNG.standard_normal((100, TOKENS, WIDTH)).astype(np.float32)
    found = qk.calibrate(tmp_path / "m.onnx", data, output=tmp_path / "run")
    assert set(found.masked) == masked
    (sentence,) = (warning for warning in found.warnings if "-inf" in warning)
    assert all(name in sentence for name in masked)
    assert {"q", "scores", "attention", "context", "y"} <= set(found.tensors)
    assert not masked & set(found.tensors)
    comparison = qk.compare(found, data[:20], targets=["onnxruntime"], precisions=["int8"])
    assert comparison.rows[1].sqnr_db is not None
    assert comparison.rows[1].sqnr_db > 15


def test_padding_is_left_out_and_what_clips_it_is_counted(tmp_path: Path) -> None:
    onnx.save(padded(), tmp_path / "m.onnx")
    found = qk.calibrate(tmp_path / "m.onnx", RNG.standard_normal((100, 3, 8, 8)).astype(np.float32))
    assert found.masked == ("padded",)
    assert found.histograms["clipped"].minimum == -3.0
    assert found.histograms["clipped"].total == 100 * 4 * 10 * 10


def test_a_mask_among_the_inputs_is_left_out(tmp_path: Path) -> None:
    def given() -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
        return [helper.make_node("Add", ["scores", "mask"], ["masked"])], []

    model = attention(given)
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", TOKENS, TOKENS]))
    onnx.save(model, tmp_path / "m.onnx")
    masks = np.where(np.tri(TOKENS), 0, -np.inf).astype(np.float32)
    data = {
        "x": RNG.standard_normal((100, TOKENS, WIDTH)).astype(np.float32),
        "mask": np.broadcast_to(masks, (100, TOKENS, TOKENS)),
    }
    found = qk.calibrate(tmp_path / "m.onnx", data)
    assert set(found.masked) == {"mask", "masked", "same"}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_no_mask_holds_is_an_error(tmp_path: Path, bad: float) -> None:
    onnx.save(attention(added), tmp_path / "m.onnx")
    data = RNG.standard_normal((100, TOKENS, WIDTH)).astype(np.float32)
    data[3, 0, 0] = bad
    with pytest.raises(BadData, match="'x' holds"):
        qk.calibrate(tmp_path / "m.onnx", data)
