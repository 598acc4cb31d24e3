"""Attention over many tokens, whose probabilities rounding would blur, stays whole in floating point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import quantkit as qk
from quantkit.core.artifact import Artifact
from quantkit.core.recipe import Recipe
from quantkit.graph.graph import Graph
from quantkit.qdq.attention import scores_of, softmax_of
from quantkit.qdq.placement import blur_reason
from tests.graphs.quantized import dequantized_inputs
from tests.graphs.small import calibrated, db, network, outputs, weights

TEXT = """(float[N, TOKENS, 32] x) => (float[N, TOKENS, 32] y) {
    q = MatMul (x, wq)  k = MatMul (x, wk)  v = MatMul (x, wv)
    turned = Transpose <perm = [0, 2, 1]> (k)  scores = MatMul (q, turned)
    scaled = Mul (scores, eighth)  masked = Add (scaled, mask)  p = Softmax <axis = -1> (masked)
    mixed = MatMul (p, v)  y = MatMul (mixed, wo)
}"""
PROJECTIONS, PRODUCTS = ("q", "k", "v", "y"), ("scores", "mixed")


def attention(tokens: int, text: str = TEXT, more: Mapping[str, Any] | None = None) -> onnx.ModelProto:
    constants = {name: weights(32, 32) for name in ("wq", "wk", "wv", "wo")}
    mask = np.zeros((1, tokens, tokens), np.float32)
    mask[:, 0, 0] = 20  # one token looks at one alone, so that the range of the probabilities ends at 1
    model = network(
        text.replace("TOKENS", str(tokens)), constants | {"eighth": np.float32(0.2), "mask": mask} | dict(more or {})
    )
    for node in model.graph.node:
        node.name = node.output[0]
    return model


def feeds(tokens: int) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).normal(size=(16, tokens, 32)).astype(np.float32)}


def int8(folder: Path, tokens: int) -> tuple[Artifact, onnx.ModelProto, onnx.ModelProto]:
    """The artifact, and both of its models."""
    calibration = calibrated(attention(tokens), feeds(tokens), folder)
    (artifact,) = qk.export(calibration, "tensorrt", precisions="int8", output=folder / "out")
    return artifact, onnx.load(artifact.path), onnx.load(artifact.path.with_name("strongly_typed.onnx"))


def test_many_tokens(tmp_path: Path) -> None:
    artifact, model, typed = int8(tmp_path, 256)
    for own in (model, typed):
        assert all(dequantized_inputs(own, name) == [True, True] for name in PROJECTIONS)
        assert all(dequantized_inputs(own, name) == [False, False] for name in PRODUCTS)
    assert set(PRODUCTS) == set(artifact.layers.left)
    (note,) = (note for note in artifact.notes if "probabilities" in note)
    assert note.startswith("Both products of an attention stay in floating point: rounding would leave")
    assert note.endswith(" dB of the probabilities. In TensorRT 8.6 compare with FP16, which was faster on a ViT.")
    exact = outputs(attention(256), feeds(256))[0]
    assert min(db(exact, outputs(own, feeds(256), optimized=False)[0]) for own in (model, typed)) > 30


def test_few_tokens_are_rounded_everywhere_and_nothing_is_said(tmp_path: Path) -> None:
    artifact, *models = int8(tmp_path, 4)
    for model in models:
        assert all(dequantized_inputs(model, name) == [True, True] for name in PRODUCTS)
    assert not any("probabilities" in note for note in artifact.notes)


def left(text: str, folder: Path, constants: dict[str, Any] | None = None, exclude: str = "") -> tuple[set[str], str]:
    """What stays in floating point of an attention of 256 tokens that is spelled so, and the note on it."""
    model = attention(256, text, constants or {})
    calibration = calibrated(model, feeds(256), folder)
    recipe = replace(Recipe.of(calibration), exclude=(exclude,) if exclude else ())
    (artifact,) = qk.export(recipe, "tensorrt", precisions="int8", output=folder / "out")
    assert "split-attention" not in {finding.rule for finding in qk.lint(artifact.path)}
    return set(artifact.layers.left), " ".join(note for note in artifact.notes if "probabilities" in note)


def test_attentions_that_share_their_scores_are_left_together(tmp_path: Path) -> None:
    """The second one chooses among four tokens, of whose probabilities rounding leaves enough."""
    fours = """apart = Reshape (scaled, fours)  r = Softmax <axis = -1> (apart)  joined = Reshape (r, rows)
        other = MatMul (joined, v)  all = MatMul (p, v)  mixed = Add (all, other)"""
    shapes = {"fours": np.array([-1, 256, 64, 4]), "rows": np.array([-1, 256, 256])}
    found, note = left(TEXT.replace("mixed = MatMul (p, v)", fours), tmp_path, shapes)
    assert found == {"scores", "all", "other"}
    assert note.startswith("Both products of an attention stay")


def test_one_that_is_excluded_is_not_said_to_be_left_for_its_probabilities(tmp_path: Path) -> None:
    found, note = left(TEXT, tmp_path, exclude="mixed")
    assert {"scores", "mixed"} <= found and not note


def test_ranges_alone_do_not_tell(tmp_path: Path) -> None:
    calibration = calibrated(attention(256), feeds(256), tmp_path)
    ranges = tmp_path / "ranges.txt"
    ranges.write_text("".join(f"{name}:{own.amax}\n" for name, own in calibration.ranges.items()))
    done = qk.convert(ranges, "qdq", model=calibration.model.path, output=tmp_path / "q.onnx")
    assert [note for note in done.notes if note.startswith("Probabilities are rounded (p): ranges alone do not tell")]
    again = qk.convert(tmp_path / "q.onnx", "qdq", model=calibration.model.path, output=tmp_path / "again.onnx")
    assert not [note for note in again.notes if "robabilities" in note]


def test_the_rtx_target_leaves_it_in_both_files(tmp_path: Path) -> None:
    calibration = calibrated(attention(256), feeds(256), tmp_path)
    (artifact,) = qk.export(calibration, "tensorrt-rtx", precisions="int8", output=tmp_path / "out")
    for name in ("model.onnx", "strongly_typed.onnx"):
        model = onnx.load(artifact.path.with_name(name))
        assert all(dequantized_inputs(model, product) == [False, False] for product in PRODUCTS)
    assert {"scores", "mixed"} <= set(artifact.layers.left)


@pytest.mark.parametrize(("tensor", "found"), [("p", "p"), ("v", ""), ("masked", "")])
def test_whose_probabilities_a_tensor_holds(tensor: str, found: str) -> None:
    softmax = softmax_of(Graph(attention(4).graph), tensor)
    assert (softmax.name if softmax is not None else "") == found


def test_the_scores_of_a_softmax_behind_a_scale_and_a_mask() -> None:
    graph = Graph(attention(4).graph)
    softmax = softmax_of(graph, "p")
    assert softmax is not None
    assert [node.name for node in scores_of(graph, softmax)] == ["scores"]


def test_a_layer_that_computes_a_bias_on_the_scores_is_none_of_them() -> None:
    text = TEXT.replace("TOKENS", "4").replace("Add (scaled, mask)", "Add (scaled, bias)")
    model = network(text.replace("scaled =", "bias = MatMul (x, wb)  scaled ="), {"wb": weights(32, 4)})
    for node in model.graph.node:
        node.name = node.output[0]
    graph = Graph(model.graph)
    softmax = softmax_of(graph, "p")
    assert softmax is not None
    assert [node.name for node in scores_of(graph, softmax)] == ["scores"]


def test_products_that_are_gemms_are_left_together(tmp_path: Path) -> None:
    text = """(float[256, 32] x) => (float[256, 32] y) {
        q = MatMul (x, wq)  k = MatMul (x, wk)  v = MatMul (x, wv)  scores = Gemm <transB = 1> (q, k)
        masked = Add (scores, mask)  p = Softmax <axis = -1> (masked)  mixed = Gemm (p, v)  y = MatMul (mixed, wo)
    }"""
    mask = np.zeros((256, 256), np.float32)
    mask[0, 0] = 20
    model = network(text, {name: weights(32, 32) for name in ("wq", "wk", "wv", "wo")} | {"mask": mask})
    for node in model.graph.node:
        node.name = node.output[0]
    calibration = calibrated(model, feeds(256), tmp_path)
    (artifact,) = qk.export(calibration, "tensorrt", precisions="int8", output=tmp_path / "out")
    assert {"scores", "mixed"} == set(artifact.layers.left)
    assert any(note.startswith("Both products of an attention stay") for note in artifact.notes)


def test_two_probabilities_of_one_product_are_told_in_one_sentence() -> None:
    assert blur_reason({}) == ""
    reason = blur_reason({"p": 12.3, "q": 20.0})
    assert reason == "rounding the probabilities p would leave 12 dB and the probabilities q would leave 20 dB"


def test_probabilities_behind_pytorchs_guard_against_nan() -> None:
    """PyTorch's scaled_dot_product_attention ends with IsNaN and Where."""
    text = """(float[N, 8, 8] s, float[N, 8, 4] v) => (float[N, 8, 4] y) {
        p = Softmax <axis = -1> (s)  bad = IsNaN (p)  safe = Where (bad, zero, p)  y = MatMul (safe, v)
    }"""
    graph = Graph(network(text, {"zero": np.float32(0)}).graph)
    softmax = softmax_of(graph, "safe")
    assert softmax is not None and softmax.output[0] == "p"
