"""Every kind of artifact for TensorRT is parsed and built by a real parser and builder, for graphs of many kinds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import quantkit as qk
from quantkit.core.calibration import Calibration
from quantkit.graph.model_file import open_model
from quantkit.targets.tensorrt.engine import builder
from quantkit.targets.tensorrt.engine.builder import Job
from quantkit.targets.tensorrt.engine.libraries import RTX
from quantkit.targets.tensorrt.engine.plan import BuildSettings, Plan
from quantkit.targets.tensorrt.engine.shapes import profiles_for
from tests.conftest import tiny_model
from tests.graphs import halves, scalable, sequences, shapes, vision_transformer
from tests.graphs.small import network, weights

if not RTX.is_installed():
    pytest.skip("TensorRT for RTX is not installed", allow_module_level=True)

ROWS = 6


def in_half(keep_io: bool) -> onnx.ModelProto:
    """A user's own FP16 model, as onnxruntime's converter makes it: with casts at its ends, or FP16 ends."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(tiny_model(), keep_io_types=keep_io)


def quantized_twice() -> onnx.ModelProto:
    """FP16 artifacts of quantkit's own names as a user's model: casts at the input are there already."""
    text = """(float[N,3,8,8] x) => (float[N,4] y) {
        graph_input_cast_0 = Cast <to = 10> (x)
        c = Conv <kernel_shape = [3, 3]> (graph_input_cast_0, w)
        p = GlobalAveragePool(c)  f = Flatten(p)
        y = Cast <to = 1> (f)
    }"""
    return network(text, {"w": weights(4, 3, 3, 3).astype(np.float16)})


def squeeze_excitation() -> onnx.ModelProto:
    text = """(float[N,16,8,8] x) => (float[N,16,8,8] y) {
        a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w0)  ra = HardSwish(a)
        m = GlobalAveragePool(ra)  s = Conv <kernel_shape = [1, 1]> (m, w1)  rs = Relu(s)
        t = Conv <kernel_shape = [1, 1]> (rs, w2)  g = HardSigmoid(t)
        u = Mul(ra, g)  y = Conv <kernel_shape = [1, 1]> (u, w3)
    }"""
    return network(text, {"w0": weights(16, 16, 3, 3), "w1": weights(8, 16, 1, 1), "w2": weights(16, 8, 1, 1),
                          "w3": weights(16, 16, 1, 1)})  # fmt: skip


def upsampling() -> onnx.ModelProto:
    """A transposed Conv, a Resize, a Concat of branches, Clips, a Split and a PRelu."""
    text = """(float[N,8,8,8] x) => (float[N,16,16,16] y) {
        c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w0)  r = Clip(c, zero, six)
        up = ConvTranspose <kernel_shape = [2, 2], strides = [2, 2]> (r, w1)
        big = Resize <mode = "nearest", nearest_mode = "floor", coordinate_transformation_mode = "asymmetric"> (r, , by)
        both = Concat <axis = 1> (up, big)  one, two = Split <axis = 1> (both, halves)
        p = PRelu(one, slope)  s = Add(p, two)
        y = Conv <kernel_shape = [1, 1]> (s, w2)
    }"""
    constants = {
        "w0": weights(8, 8, 3, 3), "w1": weights(8, 8, 2, 2), "w2": weights(16, 8, 1, 1),
        "zero": np.float32(0), "six": np.float32(6), "by": np.array([1, 1, 2, 2], np.float32),
        "halves": np.array([8, 8]), "slope": np.full((8, 1, 1), 0.1, np.float32),
    }  # fmt: skip
    return network(text, constants)


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "residual": tiny_model,
    "mobile": scalable.mobile,
    "squeeze-excitation": squeeze_excitation,
    "upsampling": upsampling,
    "detector": shapes.detector,
    "waveform": shapes.waveform,
    "recurrent": shapes.recurrent,
    "text": sequences.text_model,
    "line": sequences.line_model,
    "transformer": lambda: halves.transformer(17),
    "vision transformer": lambda: vision_transformer.transformer_model(1),
    "FP16 with casts": lambda: in_half(True),
    "FP16 ends": lambda: in_half(False),
    "FP16 casts of its own": quantized_twice,
}


def rows(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Random samples; integers are 1, which any table of tokens has and no mask leaves out."""
    rng = np.random.default_rng(0)
    found = {}
    for own in model.graph.input:
        kind = onnx.helper.tensor_dtype_to_np_dtype(own.type.tensor_type.elem_type)
        dims = [one.dim_value for one in own.type.tensor_type.shape.dim]
        if 0 in dims:
            dims.remove(0)  # the batch
        shape = [ROWS, *(size or ROWS for size in dims)]
        found[own.name] = (np.ones(shape) if kind.kind in "iub" else rng.standard_normal(shape)).astype(kind)
    return found


def is_built(file: Path, calibration: Calibration) -> None:
    """Parse and build a file; raises what a user would be told."""
    seen = {name: value.shape for name, value in (calibration.sample or {}).items()}
    profiles = profiles_for(open_model(Path(calibration.model.path)), [], [1], seen)
    plan = Plan("int8", "strong", "strongly_typed", strong=True)
    assert builder.build(Job(file, plan, profiles, BuildSettings(), lib=RTX, capabilities=("8.6",))).plan


@pytest.mark.parametrize("kind", MODELS)
def test_every_artifact_is_parsed_and_built(kind: str, tmp_path: Path) -> None:
    model = MODELS[kind]()
    onnx.save(model, tmp_path / "model.onnx")
    np.savez(tmp_path / "rows.npz", **rows(model))
    calibration = qk.calibrate(tmp_path / "model.onnx", tmp_path / "rows.npz")
    fp16, int8 = qk.export(calibration, "tensorrt", precisions=("fp16", "int8"), output=tmp_path / "out")
    assert not [note for note in (*fp16.notes, *int8.notes) if "TensorRT for RTX" in note or "was not written" in note]
    files = [file for file in (*fp16.files, *int8.files) if file.suffix == ".onnx"]
    assert [file.name for file in files] == ["model.onnx", "model.onnx", "strongly_typed.onnx"]
    for file in files:
        is_built(file, calibration)
