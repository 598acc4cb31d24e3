"""The model that scripts/make_hard_model.py makes: of the same function, hard to quantize, with known culprits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import quantkit
from quantkit.graph.graph import Graph
from tests.graphs.small import outputs

# CI copies the tests alone for the other Pythons.
make_hard_model = pytest.importorskip("scripts.make_hard_model", reason="the scripts are not here")
pytestmark = pytest.mark.slow


def test_it_is_the_same_function_and_its_scaled_blocks_are_named(shared: Path, tmp_path: Path) -> None:
    easy = shared / "models" / "mobilenet_v2_cifar10.onnx"
    model = onnx.load(str(easy))
    blocks = make_hard_model.harden(model)
    onnx.save(model, tmp_path / "hard.onnx")
    x = np.random.default_rng(3).standard_normal((4, 3, 224, 224)).astype(np.float32)
    (before,), (after,) = (outputs(path, {"input": x}) for path in (easy, tmp_path / "hard.onnx"))
    assert np.abs(before - after).max() < 1e-5 * np.abs(before).max()

    images = shared / "images" / "cifar10"
    calibration = quantkit.calibrate(tmp_path / "hard.onnx", images / "calib", samples=100)
    found = quantkit.sensitivity(calibration, images / "eval", target="onnxruntime", samples=40)
    assert found.int8.drop["top1"] > 0.15
    named = {layer.name for layer in found.layers[:8]}
    assert sum(bool(named & set(block.readers)) for block in blocks) >= 4


def test_a_block_is_what_residual_sums_join(shared: Path) -> None:
    graph = Graph(onnx.load(str(shared / "models" / "mobilenet_v2_cifar10.onnx")).graph)
    blocks = make_hard_model.blocks_of(graph)
    assert [len(block.makers) for block in blocks] == [1, 2, 3, 4, 3, 3, 1]
