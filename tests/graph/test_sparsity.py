"""2:4 sparse weights: inspect and lint tell them, and INT8 keeps their zeros."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

import quantkit as qk
from quantkit.graph.sparsity import is_sparse, sparse_groups, sparsity_of
from tests.conftest import Quantkit, tiny_model


def pruned(weight: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    """Set the two smallest of every four input channels to zero."""
    moved = np.moveaxis(weight.copy(), axis, -1)
    groups = moved.reshape(-1, 4)
    np.put_along_axis(groups, np.argsort(np.abs(groups), axis=1)[:, :2], 0, axis=1)
    return np.ascontiguousarray(np.moveaxis(groups.reshape(moved.shape), -1, axis))


def sparse_model(broken: bool = False) -> onnx.ModelProto:
    """The tiny model with a 2:4 sparse second Conv and Gemm; its first Conv has three input channels."""
    model = tiny_model()
    for tensor in model.graph.initializer:
        if tensor.name in ("w2", "w3"):
            weight = pruned(numpy_helper.to_array(tensor), 1)
            if broken and tensor.name == "w2":
                weight[0, :4, 0, 0] = 1.0
            tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    return model


@pytest.mark.parametrize(("shape", "output", "inner"), [((8, 4, 3, 3), 0, 1), ((4, 8, 2, 2), 1, 0), ((8, 5), 1, 0)])
def test_zeros_are_counted_along_the_input_channels(shape: tuple[int, ...], output: int, inner: int) -> None:
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32) + 3
    assert not is_sparse(weight, output)
    sparse = pruned(weight, inner)
    assert is_sparse(sparse, output)
    assert sparse_groups(sparse, output)[1] == weight.size // 4
    if weight.shape[output] % 4 == 0:
        assert not is_sparse(pruned(weight, output), output)


def test_inspect_says_which_weights_are_sparse(invoked: Quantkit, tmp_path: Path) -> None:
    onnx.save(sparse_model(), tmp_path / "sparse.onnx")
    onnx.save(sparse_model(broken=True), tmp_path / "broken.onnx")
    onnx.save(tiny_model(), tmp_path / "dense.onnx")
    found = json.loads(invoked("inspect", "sparse.onnx", "--json").stdout)["sparsity"]
    assert found["layers"] == ["conv2", "fc"] and found["possible"] == 2 and not found["nearly"]
    sizes = 16 * 3 * 9, 16 * 16 * 9, 3 * 16
    assert found["share"] == pytest.approx(sum(sizes[1:]) / sum(sizes))
    assert "2:4 sparse are 2 of the 2 weights" in invoked("inspect", "sparse.onnx").stdout
    assert json.loads(invoked("inspect", "broken.onnx", "--json").stdout)["sparsity"]["nearly"] == ["conv2"]
    assert "No weight is 2:4 sparse, of 2 that could be." in invoked("inspect", "dense.onnx").stdout


def test_weights_in_other_files_are_looked_at(invoked: Quantkit, tmp_path: Path) -> None:
    onnx.save_model(sparse_model(), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    assert json.loads(invoked("inspect", "m.onnx", "--json").stdout)["sparsity"]["layers"] == ["conv2", "fc"]


@pytest.mark.parametrize("target", ["tensorrt", "onnxruntime"])
def test_int8_keeps_the_zeros_and_lint_says_so(invoked: Quantkit, images: Path, tmp_path: Path, target: str) -> None:
    onnx.save(sparse_model(), tmp_path / "sparse.onnx")
    calibration = qk.calibrate(tmp_path / "sparse.onnx", images, output=tmp_path / "run")
    (made,) = qk.export(calibration, target)
    assert {layer.name for layer in sparsity_of(onnx.load(made.path)).sparse} >= {"conv2"}
    findings = json.loads(invoked("lint", made.path, "--json").stdout)["findings"]
    (found,) = (own for own in findings if own["rule"] == "sparse-weights")
    assert "conv2" in found["nodes"] and "trtexec --sparsity=enable" in found["hint"]
