"""Data sets from someone else's installed package, of samples that are no images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.errors import BadConfig, BadData
from quantkit.core.preprocess import Preparation
from quantkit.core.presets import PRESETS
from quantkit.datasets import open_dataset
from quantkit.graph.model_io import ModelInput
from tests.conftest import Quantkit
from tests.packages import Install

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the docs are not here")
IDS = [ModelInput("ids", ("N", 6), "int64")]
TEXT = "\n".join(f"{number % 2} {'a' * (number % 9 + 1)} quick brown fox" for number in range(40))


@pytest.fixture
def tokens(install: Install, tmp_path: Path) -> Path:
    """The example of the docs as it stands."""
    code = next(block for block in PAGE.read_text(encoding="utf-8").split("```python\n") if "TokenFile" in block)
    install("token_files", code.split("```")[0], "quantkit.datasets", tokens="TokenFile")
    (tmp_path / "text.tok").write_text(TEXT)
    return tmp_path / "text.tok"


def embedding_model() -> onnx.ModelProto:
    rng = np.random.default_rng(2)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "ids"], ["words"]),
            helper.make_node("ReduceMean", ["words"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("Relu", ["mean"], ["hidden"]),
            helper.make_node("MatMul", ["hidden", "w"], ["logits"]),
        ],
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 6])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])],
        [
            numpy_helper.from_array(rng.normal(size=(10, 16)).astype(np.float32), "table"),
            numpy_helper.from_array(rng.normal(size=(16, 2)).astype(np.float32), "w"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_it_is_opened_by_what_lies_there(tokens: Path) -> None:
    opened = open_dataset(tokens, IDS, PRESETS["imagenet-stretch"], 7)
    assert opened.indices.tolist() == list(range(7))
    inputs, _ = opened.dataset.load(3)
    assert inputs["ids"].tolist() == [4, 5, 5, 3, 0, 0]


def test_a_model_of_text_is_calibrated_and_compared(tokens: Path, invoked: Quantkit, tmp_path: Path) -> None:
    onnx.save(embedding_model(), tmp_path / "m.onnx")
    done = invoked("calibrate", "m.onnx", "--data", "text.tok", "-o", "out", "--no-export")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "calibration.json").read_text())
    expected = Preparation(name="tokens", description="word lengths", settings={"length": 6})
    assert Preparation.model_validate(record["preprocess"]) == expected
    assert record["samples"] == 40
    done = invoked("compare", "out", "--data", "text.tok", "--target", "onnxruntime", "--precision", "int8")
    assert done.returncode == 0, done.stderr
    assert "40 samples, 40 labelled" in done.stdout
    assert "word lengths" in (tmp_path / "out" / "report.html").read_text()
    again = invoked("calibrate", "--method", "minmax", "-o", "out", "--no-export")
    assert again.returncode == 0, again.stderr
    assert "no image is read" in again.stderr


def test_its_own_errors_are_told(tokens: Path) -> None:
    tokens.write_text("")
    with pytest.raises(BadData, match="has no line"):
        open_dataset(tokens, IDS, PRESETS["raw"])


def test_one_that_does_not_load_is_named(install: Install, tokens: Path) -> None:
    install("broken_data", "import nosuch", "quantkit.datasets", broken="Kind")
    with pytest.raises(BadConfig, match=r"The data set 'broken' \(broken_data:Kind\) does not load"):
        open_dataset(tokens, IDS, PRESETS["raw"])


def test_one_that_fails_otherwise_is_named(tokens: Path) -> None:
    tokens.write_text("seven words are no label")
    with pytest.raises(BadData, match="TokenFile failed with ValueError"):
        open_dataset(tokens, IDS, PRESETS["raw"])
