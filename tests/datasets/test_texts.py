"""Tables of texts become the inputs that a model takes; what does not fit is told with its line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit.core.errors import BackendMissing, BadData
from quantkit.core.preprocess import Preparation
from quantkit.core.presets import PRESETS
from quantkit.datasets import OpenedData, open_dataset
from quantkit.datasets.text_settings import TextSettings
from quantkit.datasets.texts import Half
from quantkit.graph.model_io import ModelInput

pytest.importorskip("tokenizers")
from tests.graphs.sequences import WORDS, text_model, write_tokenizer
from tests.graphs.small import opened

INPUTS = tuple(ModelInput(name, ("N", "T"), "int64") for name in ("input_ids", "attention_mask", "token_type_ids"))


def open_texts(path: Path, inputs: tuple[ModelInput, ...] = INPUTS, **settings: Any) -> OpenedData:
    tokenizer = write_tokenizer(path.parent)
    settings = {"tokenizer": tokenizer, **settings}
    return open_dataset(
        path, inputs, PRESETS["raw"], classes=settings.pop("classes", None), text=TextSettings(**settings)
    )


def table(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "texts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_a_text_fills_the_inputs_by_their_names_and_types(tmp_path: Path) -> None:
    inputs = (*INPUTS, ModelInput("position_ids", ("N", "T"), "int32"))
    path = table(tmp_path, {"text": "the cat sits", "text_pair": "a dog"})
    sample, _ = open_texts(path, inputs).dataset.load(0)
    known = WORDS.index
    words = ["[CLS]", "the", "cat", "sits", "[SEP]", "a", "dog", "[SEP]"]
    assert sample["input_ids"].tolist() == [known(word) for word in words]
    assert sample["attention_mask"].tolist() == [1] * 8
    assert sample["token_type_ids"].tolist() == [0] * 5 + [1] * 3
    assert sample["position_ids"].tolist() == list(range(8))
    assert [sample[own.name].dtype.name for own in inputs] == ["int64", "int64", "int64", "int32"]


@pytest.mark.parametrize(
    ("settings", "lengths"),
    [
        ({}, [4, 7]),
        ({"padding": "longest"}, [7, 7]),
        ({"padding": 8}, [8, 8]),
        ({"padding": 3}, [6, 9]),
        ({"padding": "max", "max_length": 10}, [10, 10]),
        ({"max_length": 5}, [4, 5]),
        ({"padding": 4, "max_length": 6}, [4, 6]),
    ],
)
def test_lengths_are_cut_and_filled_up(tmp_path: Path, settings: dict[str, Any], lengths: list[int]) -> None:
    path = table(tmp_path, {"text": "a cat"}, {"text": "the old dog runs under"})
    data = open_texts(path, **settings).dataset
    samples = [data.load(index)[0] for index in range(2)]
    assert [len(sample["input_ids"]) for sample in samples] == lengths
    words = [min(count, settings.get("max_length", 99)) for count in (4, 7)]
    assert [int(sample["attention_mask"].sum()) for sample in samples] == words
    assert samples[0]["input_ids"][words[0] :].tolist() == [0] * (lengths[0] - words[0])


def test_a_fixed_length_is_the_models(tmp_path: Path) -> None:
    path = table(tmp_path, {"text": "a cat"})
    fixed = (ModelInput("ids", (1, 16), "int32"),)
    assert open_texts(path, fixed).dataset.load(0)[0]["ids"].shape == (16,)
    with pytest.raises(BadData, match="takes exactly 16 tokens"):
        open_texts(path, fixed, max_length=8)


@pytest.mark.parametrize(
    ("name", "text", "settings"),
    [
        ("a.csv", 'text,label\n"a cat, old",cat\nthe dog,dog\n', {}),
        ("a.csv", "text;label\na cat;cat\nthe dog;dog\n", {}),
        ("a.tsv", "kind\twords\ncat\ta cat\ndog\tthe dog\n", {"column": "words", "label": "kind"}),
        ("a.jsonl", '\ufeff{"text": "a cat", "label": "cat"}\n\n{"text": "the dog", "label": "dog"}', {}),
    ],
)
def test_labels_come_from_a_column(tmp_path: Path, name: str, text: str, settings: dict[str, Any]) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    data = open_texts(tmp_path / name, **settings).dataset
    assert data.annotations == (0, 1)
    assert data.classes == ("cat", "dog")
    assert [len(data.load(index)[0]["input_ids"]) for index in range(2)][1] == 4


def test_plain_text_is_a_text_on_each_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a cat\n\nthe dog runs\n")
    data = open_texts(tmp_path / "a.txt").dataset
    assert list(data.names) == ["line 1", "line 3"]
    assert data.annotations is None
    assert isinstance(data.preprocess, Preparation)
    assert "each its own length" in data.preprocess.describe()


def test_pairs_apart_are_two_samples_with_one_score(tmp_path: Path) -> None:
    path = table(tmp_path, {"text": "a cat", "text_pair": "the dog", "score": 2.5}, {"text": "a", "text_pair": "the"})
    data = open_texts(path, pairs="apart").dataset
    assert data.annotations == [Half(0, 2.5), Half(0, 2.5), Half(1, None), Half(1, None)]
    assert list(data.names) == ["line 1a", "line 1b", "line 2a", "line 2b"]


def test_lone_texts_among_pairs_have_no_annotation(tmp_path: Path) -> None:
    path = table(tmp_path, {"text": "a cat"}, {"text": "a", "text_pair": "the", "score": 1})
    data = open_texts(path, pairs="apart").dataset
    assert data.annotations == [None, Half(1, 1.0), Half(1, 1.0)]
    alone = open_texts(table(tmp_path, {"text": "a cat"}), pairs="apart")
    assert alone.dataset.annotations is None
    assert "there are no pairs to compare" in alone.warnings[0]


def test_scores_are_numbers(tmp_path: Path) -> None:
    path = table(tmp_path, {"text": "a", "score": "0.5"}, {"text": "the", "score": None})
    assert open_texts(path).dataset.annotations == [0.5, None]


def test_another_padding_is_another_sample(tmp_path: Path) -> None:
    path = table(tmp_path, {"text": "a cat"})
    assert open_texts(path).dataset.stamp(0) == open_texts(path).dataset.stamp(0)
    assert open_texts(path).dataset.stamp(0) != open_texts(path, padding=8).dataset.stamp(0)


@pytest.mark.parametrize(
    ("name", "text", "settings", "message"),
    [
        ("a.jsonl", "", {}, "holds no text"),
        ("a.csv", "text,label\n", {}, "holds no text"),
        ("a.jsonl", '{"text": "a"}\n{"text": ', {}, "Line 2 of .* is no JSON"),
        ("a.jsonl", '{"text": "a"}\n["a"]', {}, "Line 2 of .* is no JSON object"),
        ("a.jsonl", '{"words": "a"}', {}, "Line 1 of .* has no column 'text'; it has words"),
        ("a.jsonl", '{"text": "a"}', {"pair": "other"}, "has no column 'other'"),
        ("a.jsonl", '{"text": 5}', {}, "Line 1 of .* has no text in 'text', but 5"),
        ("a.jsonl", '{"text": "a", "score": "high"}', {}, "has the score 'high'"),
        ("a.jsonl", '{"text": "a", "score": Infinity}', {}, "has the score inf"),
        ("a.jsonl", '{"text": "a", "label": [1]}', {}, r"has the label \[1\]"),
        ("a.csv", "text,label\na,b,c\n", {}, "Line 2 of .* has 3 columns, the heading 2"),
        ("a.csv", 'text,label\n"a,b\n', {}, "Line 2 of .* cannot be read"),
        ("a.jsonl", '{"text": "a", "label": "fish"}', {"classes": ["cat"]}, "the class 'fish', which is not among"),
        ("a.jsonl", '{"text": "a", "label": 3}', {"classes": ["x", "y"]}, "the label 3, outside the classes 0 to 1"),
    ],
)
def test_what_cannot_be_read_is_told(
    tmp_path: Path, name: str, text: str, settings: dict[str, Any], message: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadData, match=message):
        open_texts(tmp_path / name, **settings)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadData, match="is not a text file"):
        open_texts(tmp_path / "a.jsonl")


def test_the_tokenizer_lies_beside_the_model_or_above_it(tmp_path: Path) -> None:
    folder = tmp_path / "onnx"
    folder.mkdir()
    assert TextSettings().beside(folder / "model.onnx").tokenizer is None
    above = write_tokenizer(tmp_path)
    assert TextSettings().beside(folder / "model.onnx").tokenizer == above
    beside = write_tokenizer(folder)
    assert TextSettings().beside(folder / "model.onnx").tokenizer == beside
    assert TextSettings(tokenizer=above).beside(folder / "model.onnx").tokenizer == above


def test_tokens_beyond_the_embedding_are_refused(tmp_path: Path) -> None:
    model = opened(text_model(rows=len(WORDS) - 3), tmp_path)
    assert model.inputs[0].rows == len(WORDS) - 3
    path = table(tmp_path, {"text": "a"})
    with pytest.raises(BadData, match=f"tokens up to {len(WORDS) - 1}, but the model's embedding of 'input_ids' has"):
        open_texts(path, model.inputs)


def test_a_damaged_tokenizer_is_told(tmp_path: Path) -> None:
    path = table(tmp_path, {"text": "a"})
    (tmp_path / "other.json").write_text('{"model": 5}')
    with pytest.raises(BadData, match=r"other\.json is no tokenizer"):
        open_texts(path, tokenizer=tmp_path / "other.json")
    with pytest.raises(BadData, match="cannot be read"):
        open_texts(path, tokenizer=tmp_path / "none.json")
    with pytest.raises(BadData, match="needs its tokenizer"):
        open_texts(path, tokenizer=None)


def test_inputs_that_no_text_fills_are_told(tmp_path: Path) -> None:
    path = table(tmp_path, {"text": "a"})
    with pytest.raises(BadData, match="'pixels' is none that a text fills"):
        open_texts(path, (INPUTS[0], ModelInput("pixels", ("N", "T"), "int64")))


def test_without_the_extra_the_message_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path, {"text": "a"})
    tokenizer = write_tokenizer(tmp_path)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(BackendMissing, match=r"quantkit-int8\[text\]"):
        open_dataset(path, INPUTS, PRESETS["raw"], text=TextSettings(tokenizer=tokenizer))


def test_lone_inputs_take_the_tokens(tmp_path: Path) -> None:
    path = table(tmp_path, {"text": "a cat"})
    sample, _ = open_texts(path, (ModelInput("x", ("N", "T"), "int32"),)).dataset.load(0)
    assert sample["x"].dtype == np.int32
