"""The engine inspector's JSON, in the words of TensorRT 8.6."""

from __future__ import annotations

from typing import Any

import pytest

from quantkit.targets.tensorrt.engine.layers import engine_layers, executed_precision
from quantkit.targets.tensorrt.engine.record import EngineLayer

INT8 = "Thirty-two wide channel vectorized row major Int8 format"
INT8_NHWC = "Four wide channel vectorized row major Int8 format"
HALF = "Channel major FP16 format where channel % 8 == 0"
HALF_LINEAR = "Row major linear FP16 format"
SINGLE = "Row major linear FP32"


def described(name: str, kind: str, source: str, result: str = "") -> dict[str, Any]:
    """A layer of one input and one output."""
    inputs = [{"Name": f"{name} in", "Location": "Device", "Dimensions": [1, 32, 8, 8], "Format/Datatype": source}]
    outputs = [{"Name": f"{name} out", "Location": "Device", "Dimensions": [1, 8], "Format/Datatype": result or source}]
    return {"Name": name, "LayerType": kind, "Inputs": inputs, "Outputs": outputs, "Origin": "CONVOLUTION"}


ENGINE = {
    "Layers": [
        described("Reformatting CopyNode for Input Tensor 0 to conv1", "Reformat", SINGLE, INT8_NHWC),
        described("conv1 + PWN(relu)", "CaskConvolution", INT8_NHWC, INT8),
        described("conv2 + add", "CaskConvolution", INT8),
        described("pool", "CaskPooling", INT8, HALF),
        described("fc", "CaskGemmConvolution", HALF, HALF_LINEAR),
        described("r", "Reformat", HALF_LINEAR, SINGLE),
        described("conv1 + PWN(relu) [profile 1]", "CaskConvolution", HALF),
        described("fc [profile 12]", "CaskGemmConvolution", SINGLE),
    ],
    "Bindings": ["x", "logits", "x [profile 1]", "logits [profile 1]"],
}


def test_a_layer_has_the_precision_of_what_it_takes() -> None:
    found = engine_layers(ENGINE)
    assert [(layer.kind, layer.precision) for layer in found] == [
        ("Reformat", "f32"),
        ("CaskConvolution", "int8"),
        ("CaskConvolution", "int8"),
        ("CaskPooling", "int8"),
        ("CaskGemmConvolution", "f16"),
        ("Reformat", "f16"),
    ]
    assert found[1].name == "conv1 + PWN(relu)"


def test_what_myelin_fused_is_not_told() -> None:
    fused = {"Layers": [described("{ForeignNode[...]}", "Myelin", "Row major linear INT32")]}
    assert executed_precision(engine_layers(fused)) == "not told"


def test_layers_of_further_profiles_are_left_out() -> None:
    assert not any("[profile" in layer.name for layer in engine_layers(ENGINE))
    first = {"Layers": [described("x [profile 0]", "CaskConvolution", INT8)]}
    assert len(engine_layers(first)) == 1


def test_only_weighted_layers_count_as_what_ran() -> None:
    assert executed_precision(engine_layers(ENGINE)) == "int8 2, f16 1"
    assert executed_precision([layer for layer in engine_layers(ENGINE) if layer.precision == "int8"]) == "int8"
    assert executed_precision([layer for layer in engine_layers(ENGINE) if layer.kind == "Reformat"]) == "unknown"


@pytest.mark.parametrize(
    ("words", "precision"),
    [
        *((INT8, "int8"), (INT8_NHWC, "int8"), (HALF, "f16"), (HALF_LINEAR, "f16"), (SINGLE, "f32")),
        ("Row major Int8 format", "int8"),
        ("Row major linear INT32", "i32"),
        ("Row major linear Bool", "bool"),
        ("Half", "f16"),
        ("Float", "f32"),
        ("Int8", "int8"),
        ("BF16", "bf16"),
        ("N/A due to dynamic shapes", ""),
        ("", ""),
    ],
)
def test_the_words_of_formats(words: str, precision: str) -> None:
    (layer,) = engine_layers({"Layers": [described("conv", "CaskConvolution", words)]})
    assert layer.precision == precision


def test_a_layer_without_inputs_has_the_precision_of_what_it_makes() -> None:
    constant = described("c", "Constant", HALF) | {"Inputs": []}
    assert engine_layers({"Layers": [constant]}) == (EngineLayer(name="c", kind="Constant", precision="f16"),)


def test_an_engine_that_was_built_without_details_has_names_alone() -> None:
    found = engine_layers({"Layers": ["conv1 + PWN(relu)", "fc", "fc [profile 1]"]})
    assert [layer.name for layer in found] == ["conv1 + PWN(relu)", "fc"]
    assert executed_precision(found) == "unknown"
    assert engine_layers({}) == ()
