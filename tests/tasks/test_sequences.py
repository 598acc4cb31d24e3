"""Texts, lines of writing and states, the whole way: calibrated, exported, compared and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import quantkit
from tests.conftest import Quantkit
from tests.graphs.sequences import NOUNS, WORDS, line_model, state_model, text_model, write_tokenizer
from tests.graphs.small import outputs

QUICK = ("--target", "onnxruntime", "--precision", "int8", "--rounds", "3", "--seconds", "0.2")


def sentences(count: int, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS[4:], int(random.integers(2, 9)))) for _ in range(count)]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("\n".join(map(json.dumps, rows)))


def whole_way(
    invoked: Quantkit,
    folder: Path,
    model: onnx.ModelProto,
    data: str,
    *options: str,
    settings: str = "",
    export: bool = False,
) -> dict[str, Any]:
    """Inspect, calibrate, compare (which exports what it needs; ``export`` writes every target) and report."""
    onnx.save(model, folder / "model.onnx")
    (folder / "quantkit.toml").write_text(settings)
    left_out = () if export else ("--no-export",)
    for command in (
        ("inspect", "model.onnx"),
        ("calibrate", "model.onnx", "--data", data, "-o", "out", *left_out),
        ("compare", "out", "--data", data, *options, *QUICK),
        ("report", "out"),
    ):
        done = invoked(*command)
        assert done.returncode == 0, done.stderr
    assert "<html" in (folder / "out" / "report.html").read_text()
    found: dict[str, Any] = json.loads((folder / "out" / "comparison.json").read_text())
    return found


def row_of(comparison: dict[str, Any], precision: str) -> dict[str, Any]:
    return next(row for row in comparison["rows"] if row["precision"] == precision)


def test_a_text_classifier(invoked: Quantkit, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    write_tokenizer(tmp_path)
    rows = [{"text": text, "label": NOUNS[number % 3]} for number, text in enumerate(sentences(24))]
    write_rows(tmp_path / "texts.jsonl", rows)
    found = whole_way(invoked, tmp_path, text_model("logits"), "texts.jsonl")
    assert found["task"] == "classification"
    assert found["labelled"] == 24
    int8 = row_of(found, "int8")
    assert int8["agreement"] > 0.8
    assert int8["sqnr_db"] > 15
    assert "qdq" not in int8["executed_precision"]
    lengths = [len(row["text"].split()) + 2 for row in rows]
    common = max(set(lengths), key=lambda length: (lengths.count(length), length))
    assert int8["shape"] == f"input_ids=1x{common}"


def test_embeddings_of_pairs(invoked: Quantkit, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    write_tokenizer(tmp_path)
    pairs = zip(sentences(24), sentences(24, seed=1), strict=True)
    rows = [{"one": a, "two": b, "score": len({*a.split()} & {*b.split()})} for a, b in pairs]
    write_rows(tmp_path / "pairs.jsonl", rows)
    settings = '[data.text]\ncolumn = "one"\npair = "two"\npairs = "apart"\npadding = 4\n[task]\nname = "embedding"\n'
    found = whole_way(invoked, tmp_path, text_model("tokens"), "pairs.jsonl", settings=settings, export=True)
    assert found["metrics"][0]["name"] == "spearman"
    fp32, int8 = row_of(found, "fp32"), row_of(found, "int8")
    assert found["samples"] == 48
    assert fp32["metrics"]["neighbours"]["value"] == fp32["metrics"]["nearest"]["value"] == 1
    assert 0.6 < int8["metrics"]["neighbours"]["value"] <= 1
    assert 0.98 < int8["metrics"]["cosine"]["value"] < 1
    assert int8["changes"]["spearman"]["low"] <= int8["drop"]["spearman"] <= int8["changes"]["spearman"]["high"]
    assert int8["agreement"] is None


def test_a_score_of_a_text_is_regression_at_named_shapes(invoked: Quantkit, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    write_tokenizer(tmp_path)
    model = text_model("score")
    texts = sentences(20)
    write_rows(tmp_path / "texts.jsonl", [{"text": text, "score": 0.5} for text in texts])
    options = ("--task", "regression", "--shape", "input_ids=1x8", "--shape", "input_ids=4x16")
    found = whole_way(invoked, tmp_path, model, "texts.jsonl", *options)
    assert [metric["name"] for metric in found["metrics"]] == ["mae", "rmse", "cosine", "largest_error"]
    shapes = [(row["batch"], row["shape"]) for row in found["rows"]]
    assert set(shapes) == {(1, "input_ids=1x8"), (4, "input_ids=4x16")}
    assert len(found["recommendation"]["choices"]) == 2
    for row in found["rows"]:
        mae, rmse = row["metrics"]["mae"], row["metrics"]["rmse"]
        assert 0 < mae["low"] < mae["value"] < mae["high"]
        assert mae["value"] < rmse["value"]
    refused = invoked("compare", "out", "--data", "texts.jsonl", "--shape", "input_ids=1x8x8")
    assert refused.returncode == 2
    assert "does not fit the input 'input_ids', which takes N x T" in refused.stderr


def test_lines_of_writing_of_any_width(invoked: Quantkit, tmp_path: Path) -> None:
    model, random = line_model(), np.random.default_rng(0)
    onnx.save(model, tmp_path / "model.onnx")
    folder = tmp_path / "lines"
    folder.mkdir()
    from quantkit.tasks.ctc import Alphabet, Ctc

    own = Ctc("shares", None, Alphabet(tuple("abcdefghij")))
    for number in range(24):
        x = random.normal(size=(1, 1, 8, int(random.choice([16, 24, 32])))).astype(np.float32)
        decoded = own.decode({"shares": outputs(model, {"x": x})[0]})
        assert decoded is not None
        np.savez(folder / f"{number:02}.npz", x=x, label=decoded[0])
    (tmp_path / "characters.txt").write_text("\n".join("abcdefghij"))
    settings = '[task]\nname = "ctc"\ncharacters = "characters.txt"\n'
    found = whole_way(invoked, tmp_path, model, "lines", settings=settings)
    fp32, int8 = row_of(found, "fp32"), row_of(found, "int8")
    assert fp32["metrics"]["cer"]["value"] == 0
    assert fp32["metrics"]["exact"]["value"] == 1
    assert 0 <= int8["metrics"]["cer"]["value"] < 0.5
    assert int8["metrics"]["exact"]["value"] == int8["agreement"]
    (tmp_path / "characters.txt").write_text("abc")
    refused = invoked("compare", "out", "--data", "lines", *QUICK)
    assert refused.returncode == 2
    assert "There are 1 characters for 12 classes" in refused.stderr


def test_a_state_input_and_windows_of_any_length(invoked: Quantkit, tmp_path: Path) -> None:
    model, random = state_model(), np.random.default_rng(0)
    folder = tmp_path / "windows"
    folder.mkdir()
    for number in range(24):
        feeds = {
            "window": random.normal(size=(1, int(random.choice([64, 96])))).astype(np.float32),
            "state": random.normal(size=(2, 1, 32)).astype(np.float32),
        }
        level, after = outputs(model, feeds)
        np.savez(folder / f"{number:02}.npz", level=level[0], next=after[:, 0], **feeds)
    found = whole_way(invoked, tmp_path, model, "windows", "--task", "regression")
    fp32, int8 = row_of(found, "fp32"), row_of(found, "int8")
    assert fp32["metrics"]["mae"]["value"] < 1e-6
    assert 0 < int8["metrics"]["mae"]["value"] < 1
    assert int8["drop"]["rmse"] > 0
    assert {error["output"] for error in int8["outputs"]} == {"level", "next"}
    assert int8["shape"] in ("window=1x64", "window=1x96")


def test_the_counts_do_not_depend_on_which_samples_run_together(tmp_path: Path) -> None:
    random, model = np.random.default_rng(0), line_model()
    onnx.save(model, tmp_path / "any.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, tmp_path / "four.onnx")
    folder = tmp_path / "lines"
    folder.mkdir()
    for number in range(10):
        np.savez(folder / f"{number}.npz", x=random.normal(size=(1, 8, int(random.choice([16, 24])))))
    alone, together = (
        quantkit.calibrate(tmp_path / f"{name}.onnx", folder, rounding="nearest").histograms for name in ("any", "four")
    )
    for name in ("x", "active", "scores", "shares"):
        assert alone[name].total == together[name].total
        assert alone[name].maximum == pytest.approx(together[name].maximum, rel=1e-5)
    np.testing.assert_array_equal(alone["x"].positive, together["x"].positive)
