"""``quantkit check``: each target's own parser names all that it refuses, and what to do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

import quantkit
from quantkit.targets.tensorrt.engine.libraries import RTX as RTX_LIBRARY
from quantkit.targets.tensorrt.engine.libraries import TENSORRT
from tests.conftest import Quantkit
from tests.graphs.refused import custom, newer, unknown

RTX = pytest.mark.skipif(not RTX_LIBRARY.is_installed(), reason="TensorRT for RTX is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, model in {"custom": custom(), "newer": newer(), "unknown": unknown(), "early": unknown("Gelu")}.items():
        onnx.save(model, tmp_path / f"{name}.onnx")
    return tmp_path


def faults(document: dict[str, Any], target: str, parser: str) -> dict[str, dict[str, Any]]:
    """The faults that a parser of a target tells, by operator."""
    (own,) = (one for one in document["targets"][target] if one["parser"].startswith(parser))
    return {fault["operator"]: fault for fault in own["faults"]}


PARSERS = [
    pytest.param("onnxruntime", "onnxruntime", id="onnxruntime"),
    pytest.param("openvino", "OpenVINO", id="openvino"),
    pytest.param("tensorrt-rtx", "TensorRT for RTX", id="rtx", marks=RTX),
]


@pytest.mark.parametrize(("target", "parser"), PARSERS)
def test_every_refused_operator_is_named_with_its_nodes(
    invoked: Quantkit, folder: Path, target: str, parser: str
) -> None:
    if target == "openvino":
        pytest.importorskip("openvino")
    done = invoked("check", "custom.onnx", "--target", target, "--json")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["refused_by"] == [target]
    found = faults(document, target, parser)
    assert {"com.acme.Blur", "com.acme.Sharpen"} <= set(found)
    assert set(found["com.acme.Blur"]["nodes"]) == {"blur", "inner_Blur"}
    assert found["com.acme.Sharpen"]["nodes"] == ["sharpen"]
    assert "com.acme is not a domain of ONNX's own" in found["com.acme.Blur"]["hint"]
    if target == "tensorrt":
        assert "--dynamicPlugins" in found["Unique"]["hint"] and "onnxruntime's TensorRT" in found["Unique"]["hint"]
    shown = invoked("check", "custom.onnx", "--target", target)
    assert shown.returncode == 1
    assert "com.acme.Blur, com.acme.Sharpen" in shown.stdout and "Nodes: blur, inner_Blur" in shown.stdout


@pytest.mark.parametrize(("target", "parser"), PARSERS)
def test_a_sound_model_is_taken(invoked: Quantkit, model_path: Path, target: str, parser: str) -> None:
    if target == "openvino":
        pytest.importorskip("openvino")
    done = invoked("check", model_path, "--target", target, "--json")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert document["refused_by"] == [] and not faults(document, target, parser)
    assert any(own["checked"] for own in document["targets"][target])


def test_an_opset_that_the_named_version_does_not_read_is_refused(invoked: Quantkit, folder: Path) -> None:
    only = ("--target", "tensorrt", "--json")
    assert invoked("check", "newer.onnx", "--tensorrt", "10.15", *only).returncode == 0
    done = invoked("check", "newer.onnx", "--tensorrt", "8.6", *only)
    assert done.returncode == 1
    fault = faults(json.loads(done.stdout), "tensorrt", "TensorRT 8.6's opsets")[None]  # type: ignore[index]
    assert "up to opset 17" in fault["what"] and "states 22" in fault["what"]
    assert "Export it with opset 17" in fault["hint"]
    unasked = json.loads(invoked("check", "newer.onnx", *only).stdout)["targets"]["tensorrt"][0]
    assert not unasked["checked"] and "10.15 and newer" in unasked["hint"]


def test_the_opset_to_export_with_is_told(invoked: Quantkit, folder: Path) -> None:
    shown = invoked("check", "early.onnx", "--target", "onnxruntime")
    assert shown.returncode == 1
    assert "Gelu came with opset 20, and the model states 17: export it with 20." in shown.stdout
    assert "ONNX knows no NoSuchOperator" in invoked("check", "unknown.onnx", "--target", "onnxruntime").stdout


@pytest.mark.skipif(TENSORRT.is_installed(), reason="TensorRT is installed")
def test_a_parser_that_is_not_installed_is_said_to_be_unchecked(invoked: Quantkit, model_path: Path) -> None:
    done = invoked("check", model_path, "--target", "tensorrt")
    assert done.returncode == 0
    assert "unchecked by TensorRT, because it is not installed" in done.stdout
    assert "pip install 'tensorrt>=8.6,<12'" in done.stdout


def test_what_is_no_model_is_bad_input(invoked: Quantkit, tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"no model")
    assert invoked("check", "no.onnx").returncode == 2
    assert invoked("check", "missing.onnx").returncode == 2
    assert invoked("check", "no.onnx", "--target", "toaster").returncode == 2


def test_the_same_from_python(model_path: Path) -> None:
    (own,) = quantkit.check(model_path, "onnxruntime")["onnxruntime"]
    assert own.parser.startswith("onnxruntime ") and not own.faults and not own.unchecked
