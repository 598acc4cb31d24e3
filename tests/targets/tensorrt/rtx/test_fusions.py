"""The kernels of engines: the builder's most detailed messages list them, also on a machine without a GPU."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import quantkit as qk
from quantkit.targets.tensorrt.engine.libraries import RTX
from tests.graphs import vision_transformer
from tests.graphs.quantized import dequantized_inputs

if not RTX.is_installed():
    pytest.skip("TensorRT for RTX is not installed", allow_module_level=True)

KERNEL = re.compile(r"Name: .*LayerType: (?!signal|wait)")


def kernels(file: Path, *shape: int) -> list[str]:
    """The kernels of an engine for compute capability 8.6, each with what it reads and writes."""
    trt = RTX.tensorrt()

    class Messages(trt.ILogger):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, _: Any, message: str) -> None:
            self.lines.append(message)

    messages = Messages()
    builder = trt.Builder(messages)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, messages)
    assert parser.parse_from_file(str(file))
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    profile = builder.create_optimization_profile()
    profile.set_shape(network.get_input(0).name, shape, shape, shape)
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None
    return [line for line in "\n".join(messages.lines).splitlines() if KERNEL.match(line)]


def exported(model: onnx.ModelProto, data: Mapping[str, Any], folder: Path) -> tuple[Path, Path]:
    """The FP16 model and the strongly typed INT8 one."""
    onnx.save(model, folder / "model.onnx")
    np.savez(folder / "rows.npz", **data)
    calibration = qk.calibrate(folder / "model.onnx", folder / "rows.npz")
    fp16, int8 = qk.export(calibration, "tensorrt", precisions=("fp16", "int8"), output=folder / "out")
    return fp16.path, int8.path.with_name("strongly_typed.onnx")


def fused(listed: list[str]) -> int:
    return sum("mha" in line for line in listed)


def images(side: int) -> dict[str, Any]:
    return {"input": np.random.default_rng(0).standard_normal((8, 3, side, side)).astype(np.float32)}


@pytest.mark.parametrize(("side", "rounded"), [(16, True), (64, False)])
def test_attention_is_one_kernel_with_both_products_in_int8_or_neither(
    side: int, rounded: bool, tmp_path: Path
) -> None:
    """Of 16 tokens, whose probabilities survive rounding, and of 256."""
    fp16, int8 = exported(vision_transformer.transformer_model(2, side), images(side), tmp_path)
    for product in ("qk", "mixed"):
        assert dequantized_inputs(onnx.load(int8), f"node_b0.{product}") == [rounded] * 2
    assert fused(kernels(fp16, 1, 3, side, side)) == 2
    assert fused(kernels(int8, 1, 3, side, side)) == 2
