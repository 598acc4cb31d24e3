"""NNCF's placement holds the calibration's ranges, to the limits of the device's rules."""

from __future__ import annotations

import contextlib
import io
import logging
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from quantkit.api import calibrate
from quantkit.core.artifact import Artifact
from quantkit.core.calibration import Calibration
from quantkit.core.errors import BackendMissing, TargetRefuses
from quantkit.core.recipe import Recipe
from quantkit.datasets import Stream, open_dataset
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import open_model
from quantkit.targets.openvino import OpenVino, OpenVinoSettings, library
from quantkit.targets.openvino.frontend import read_onnx
from quantkit.targets.openvino.nncf import adapter as nncf_adapter
from quantkit.targets.openvino.nncf.attention import has_attention
from quantkit.targets.openvino.nncf.placement import placed_by_nncf
from tests.conftest import tiny_model
from tests.graphs.vision_transformer import transformer_model
from tests.targets.openvino.fake_quantize import limits_of
from tests.targets.template import RunnableTarget

pytest.importorskip("openvino")
pytest.importorskip("nncf")
pytestmark = pytest.mark.openvino

NNCF = OpenVinoSettings(placement=["nncf"])


class TestNncfPlacement(RunnableTarget):
    target = OpenVino(NNCF)


@pytest.fixture
def transformer(tmp_path: Path, images: Path) -> Calibration:
    onnx.save(transformer_model(), tmp_path / "transformer.onnx")
    return calibrate(tmp_path / "transformer.onnx", images)


def activation_limits(model: Any) -> dict[str, tuple[float, float, int]]:
    """What each FakeQuantize of an activation reads, its limits and levels."""
    found = {}
    for operation in model.get_ops():
        if operation.get_type_name() != "FakeQuantize":
            continue
        source = operation.input_value(0)
        if source.get_node().get_type_name() in ("Constant", "Convert"):
            continue
        low, high = (np.asarray(operation.input_value(i).get_node().data).reshape(-1) for i in (1, 2))
        out_low, out_high = (np.asarray(operation.input_value(i).get_node().data).reshape(-1) for i in (3, 4))
        assert np.array_equal(low, out_low) and np.array_equal(high, out_high)
        assert low.size == 1, "activations are quantized per tensor"
        name = min(source.get_names(), default=source.get_node().get_friendly_name())
        found[name] = (float(low[0]), float(high[0]), operation.get_attributes()["levels"])
    return found


def hold_the_calibrated_ranges(calibration: Calibration, preset: str) -> int:
    """Assert it on the file; how many quantizers there are."""
    settings = NNCF.model_copy(update={"preset": preset})
    placed, notes = placed_by_nncf(open_model(Path(calibration.model.path)), Recipe.of(calibration), settings, False)
    assert not placed.without_range and not notes
    found = activation_limits(placed.model)
    assert set(found) == set(placed.activations)
    for name, (low, high, levels) in found.items():
        together, symmetric = placed.activations[name]
        assert levels == 256
        assert name in {tensor for known in together for tensor in known.tensors}
        stated = [calibration.tensors[tensor].range for known in together for tensor in known.tensors]
        expected = limits_of(stated, symmetric)
        assert (low, high) == pytest.approx((expected.low, expected.high), rel=2e-5)
    return len(found)


@pytest.mark.parametrize("preset", ["mixed", "performance"])
def test_each_fake_quantize_holds_the_range_that_the_calibration_states(
    model_path: Path, images: Path, preset: str
) -> None:
    assert hold_the_calibrated_ranges(calibrate(model_path, images), preset) >= 4


@pytest.mark.parametrize("name", ["mobilenet_v2_cifar10", "resnet20_cifar10"])
def test_real_models_hold_the_calibrated_ranges(shared: Path, name: str) -> None:
    data = shared / "images" / "cifar10" / "calib.txt"
    assert hold_the_calibrated_ranges(calibrate(shared / "models" / f"{name}.onnx", data, samples=16), "mixed") > 20


def test_the_written_file_has_int8_weights_by_channel(model_path: Path, images: Path, tmp_path: Path) -> None:
    artifact = exported(OpenVino(NNCF), calibrate(model_path, images), tmp_path / "out")
    model = library.core().read_model(str(artifact.path))
    scales = []
    for operation in model.get_ops():
        if operation.get_type_name() in ("Convolution", "MatMul"):
            multiply = operation.input_value(1).get_node()
            assert multiply.input_value(0).get_node().input_value(0).get_element_type().get_type_name() == "i8"
            scales.append(np.asarray(multiply.input_value(1).get_node().data).size)
    assert sorted(scales) == [3, 16, 16]
    assert artifact.variant == "nncf"


def test_bias_correction_brings_outputs_closer(model_path: Path, images: Path) -> None:
    calibration = calibrate(model_path, images)
    noise = {}
    for corrects in (False, True):
        model = open_model(model_path)
        placed, _ = placed_by_nncf(model, Recipe.of(calibration), NNCF, False, correct_biases=corrects)
        noise[corrects] = mean_error(placed.model, calibration)
        assert (placed.corrected > 0) == corrects
    assert noise[True] < noise[False]


def test_smooth_quant_pays_where_channels_stand_out(transformer: Calibration) -> None:
    model = open_model(Path(transformer.model.path))
    head = {"logits*": "excluded"}
    plain, _ = placed_by_nncf(model, Recipe.of(transformer), NNCF, False, head, smooth=False, correct_biases=False)
    smooth, notes = placed_by_nncf(model, Recipe.of(transformer), NNCF, False, head, correct_biases=False)
    assert plain.smoothed == 0 < smooth.smoothed
    assert "SmoothQuant" in notes[0]
    assert squared_error(smooth.model, transformer) < 0.7 * squared_error(plain.model, transformer)


def test_ranges_behind_smooth_quant_cover_every_channels_extremes(transformer: Calibration) -> None:
    placed, _ = placed_by_nncf(open_model(Path(transformer.model.path)), Recipe.of(transformer), NNCF, False)
    derived = [(k, knowns[0]) for k, (knowns, _) in placed.activations.items() if knowns[0].derived]
    assert derived
    for name, known in derived:
        assert known.minimum is not None and known.maximum is not None
        low, high, _ = activation_limits(placed.model)[name]
        assert low <= known.minimum.min() * (1 - 1e-4) and high >= known.maximum.max() * (1 - 1e-4)


def test_a_transformer_is_told_by_its_attention() -> None:
    assert has_attention(Graph(transformer_model().graph))
    assert not has_attention(Graph(tiny_model().graph))


@pytest.mark.parametrize("placement", ["qdq", "nncf"])
def test_a_mean_pooled_transformer_computes_what_it_should(
    transformer: Calibration, tmp_path: Path, placement: str
) -> None:
    target = OpenVino(OpenVinoSettings(placement=[placement]))
    artifact = exported(target, transformer, tmp_path / "out")
    model = library.core().read_model(str(artifact.path))
    assert squared_error(model, transformer) < 1e-2  # 20 dB; with the head quantized it is 0 dB


def test_what_is_excluded_stays_in_floating_point_and_says_so(model_path: Path, images: Path, tmp_path: Path) -> None:
    calibration = calibrate(model_path, images, exclude=["conv2"])
    for placement in ("qdq", "nncf"):
        target = OpenVino(OpenVinoSettings(placement=[placement]))
        session = target.load(exported(target, calibration, tmp_path / placement), "CPU")
        layers = session.layer_times(sample(), 2)
        told = {layer.name: (layer.precision, layer.reason) for layer in layers if layer.meant == "int8"}
        assert told["conv2"] == ("f32", "excluded by 'conv2'")
        if placement == "nncf":  # quantkit's own leaves a small image's first Conv and a small matrix in floating point
            assert told["conv1"][0] == told["fc"][0] == "int8"


def test_an_excluded_classifier_is_meant_for_int8_where_it_would_be_in_it(
    model_path: Path, images: Path, tmp_path: Path
) -> None:
    target = OpenVino(NNCF)
    calibration = calibrate(model_path, images, exclude=["fc"])
    layers = target.load(exported(target, calibration, tmp_path / "out"), "CPU").layer_times(sample(), 2)
    told = [(layer.precision, layer.meant, layer.reason) for layer in layers if layer.kind == "FullyConnected"]
    assert told == [("f32", "int8", "excluded by 'fc'")]


def test_a_tensor_without_a_range_is_named_and_left_alone(model_path: Path, images: Path) -> None:
    calibration = calibrate(model_path, images)
    known = {name: tensor for name, tensor in calibration.tensors.items() if name != "relu1"}
    partial = calibration.model_copy(update={"tensors": known})
    placed, notes = placed_by_nncf(open_model(model_path), Recipe.of(partial), NNCF, False)
    assert "relu1" in placed.without_range
    assert "relu1" in notes[0]
    assert "relu1" not in activation_limits(placed.model)


def test_nothing_is_written_to_stdout(model_path: Path, images: Path) -> None:
    calibration = calibrate(model_path, images)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        placed_by_nncf(open_model(model_path), Recipe.of(calibration), NNCF, False)
    assert out.getvalue() == ""


def test_nncf_is_quietened_and_nobodys_handler() -> None:
    logger, handler = logging.getLogger("nncf"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        library.nncf.cache_clear()
        library.nncf()
        assert handler.level == logging.NOTSET
        assert not logger.isEnabledFor(logging.WARNING)
    finally:
        logger.removeHandler(handler)


def test_a_changed_nncf_fails_loudly(model_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nncf.common.tensor_statistics.collectors import TensorCollector

    calibration = calibrate(model_path, images)
    monkeypatch.delattr(TensorCollector, "set_cache")
    with pytest.raises(BackendMissing, match="not as quantkit knows it") as raised:
        placed_by_nncf(open_model(model_path), Recipe.of(calibration), NNCF, False)
    assert "pip install 'nncf>=" in raised.value.hint


def test_nncf_has_what_the_adapter_uses() -> None:
    """Fails, with the name, when a release of NNCF takes away or renames something."""
    library.nncf()
    from nncf.common.tensor_statistics.collectors import TensorCollector
    from nncf.common.tensor_statistics.statistics import MeanTensorStatistic, MinMaxTensorStatistic
    from nncf.quantization.algorithms.fast_bias_correction.algorithm import FastBiasCorrection
    from nncf.quantization.algorithms.min_max.algorithm import MinMaxQuantization
    from nncf.quantization.algorithms.smooth_quant.algorithm import SHAPE_BRANCH_KEY, STATISTIC_BRANCH_KEY, SmoothQuant

    for algorithm in (MinMaxQuantization, FastBiasCorrection, SmoothQuant):
        assert callable(algorithm.get_statistic_points) and callable(algorithm.apply)
    assert callable(MinMaxQuantization._get_quantization_target_points)
    assert callable(FastBiasCorrection._get_bias_shift_magnitude)
    assert callable(FastBiasCorrection._set_backend_entity)
    assert callable(TensorCollector.set_cache)
    assert (STATISTIC_BRANCH_KEY, SHAPE_BRANCH_KEY) == ("abs_max", "shape")
    assert [field.name for field in fields(MinMaxTensorStatistic)] == ["min_values", "max_values"]
    assert [field.name for field in fields(MeanTensorStatistic)] == ["mean_values", "shape"]
    assert nncf_adapter.quantize


def test_an_operator_that_openvino_lacks_is_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Blur", ["y"], ["z"], domain="com.acme"),
    ]
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xz"]
    graph = helper.make_graph(nodes, "custom", shapes[:1], shapes[1:])
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.acme", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "custom.onnx")
    with pytest.raises(TargetRefuses, match=r"OpenVINO has no operator for com\.acme\.Blur"):
        read_onnx(tmp_path / "custom.onnx", tmp_path / "custom.onnx")


def exported(target: OpenVino, calibration: Calibration, folder: Path) -> Artifact:
    folder.mkdir(parents=True)
    return target.export(open_model(Path(calibration.model.path)), Recipe.of(calibration), "int8", folder)


def sample(seed: int = 0) -> dict[str, Any]:
    return {"input": np.random.default_rng(seed).standard_normal((1, 3, 16, 16)).astype(np.float32)}


def outputs(model: Any, calibration: Calibration) -> tuple[Any, Any]:
    """FP32's and the model's for the calibration's own images."""
    reference = ort.InferenceSession(calibration.model.path)
    fixed = model.clone()
    fixed.reshape([1, 3, 16, 16])
    compiled = library.core().compile_model(fixed, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    inputs = open_model(Path(calibration.model.path)).inputs
    opened = open_dataset(Path(calibration.data.path), inputs, calibration.preprocess, 100, 0, None, None)
    batches = [batch.inputs for batch in Stream(opened.dataset, [int(i) for i in opened.indices]).batches(1)]
    return (
        np.concatenate([reference.run(None, batch)[0] for batch in batches]),
        np.concatenate([np.array(compiled(batch)[0]) for batch in batches]),
    )


def squared_error(model: Any, calibration: Calibration) -> float:
    """Noise energy over signal energy."""
    wanted, found = outputs(model, calibration)
    return float(np.square(found - wanted).sum() / np.square(wanted).sum())


def mean_error(model: Any, calibration: Calibration) -> float:
    """How far the mean of each output is off."""
    wanted, found = outputs(model, calibration)
    return float(np.abs((found - wanted).mean(axis=0)).max())
