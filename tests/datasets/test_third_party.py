"""Data sets from someone else's installed package, of samples that are no images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.errors import BadConfig, BadData
from quantkit.core.preprocess import PRESETS, Preparation
from quantkit.datasets import open_dataset
from quantkit.graph.model_file import ModelInput
from tests.conftest import Quantkit
from tests.packages import Install

LINES = '''
import hashlib
import numpy as np
from quantkit.core.errors import BadData
from quantkit.core.preprocess import Preparation
from quantkit.datasets import Source

class Tokens:
    """A .tok file: a line is a label and words, which become their lengths."""

    def __init__(self, path, length):
        self.source, self.length = str(path), length
        self.lines = path.read_text().splitlines()
        if not self.lines:
            raise BadData(f"{path} has no line.", "Write a label and words on each.")
        self.names = [f"line {number}" for number in range(1, len(self.lines) + 1)]
        self.classes = ()
        self.annotations = [int(line.split()[0]) for line in self.lines]
        self.preprocess = Preparation(
            name="tokens", description=f"word lengths, {length} to a line", settings={"length": length}
        )

    def stamp(self, index):
        return self.digest(index).hex()

    def size(self, index):
        return len(self.lines[index])

    def digest(self, index):
        return hashlib.sha256(self.lines[index].encode()).digest()

    def is_constant(self, index):
        return False

    def load(self, index):
        lengths = [len(word) for word in self.lines[index].split()[1:]]
        ids = np.array((lengths + [0] * self.length)[: self.length], np.int64)
        return {"ids": ids}, self.digest(index)

class TokenFile:
    def matches(self, path):
        return path.suffix == ".tok"

    def open(self, request):
        return Source(Tokens(request.path, request.inputs[0].shape[1]), ordered=True, notes=("Words are counted.",))
'''
IDS = [ModelInput("ids", ("N", 6), "int64")]
TEXT = "\n".join(f"{number % 2} {'a' * (number % 9 + 1)} quick brown fox" for number in range(40))


@pytest.fixture
def tokens(install: Install, tmp_path: Path) -> Path:
    install("token_files", LINES, "quantkit.datasets", tokens="TokenFile")
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
    assert opened.notes == ("Words are counted.",)
    inputs, _ = opened.dataset.load(3)
    assert inputs["ids"].tolist() == [4, 5, 5, 3, 0, 0]


def test_a_model_of_text_is_calibrated_and_compared(tokens: Path, invoked: Quantkit, tmp_path: Path) -> None:
    onnx.save(embedding_model(), tmp_path / "m.onnx")
    done = invoked("calibrate", "m.onnx", "--data", "text.tok", "-o", "out", "--no-export")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "calibration.json").read_text())
    expected = Preparation(name="tokens", description="word lengths, 6 to a line", settings={"length": 6})
    assert Preparation.model_validate(record["preprocess"]) == expected
    assert record["samples"] == 40
    done = invoked("compare", "out", "--data", "text.tok", "--target", "onnxruntime", "--precision", "int8")
    assert done.returncode == 0, done.stderr
    assert "40 samples, 40 labelled" in done.stdout
    assert "word lengths, 6 to a line" in (tmp_path / "out" / "report.html").read_text()
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
