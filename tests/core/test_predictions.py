"""predictions.npz: what each model answered."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quantkit.core.errors import BadInput
from quantkit.core.predictions import Predictions
from quantkit.pipeline.run_files import load_comparison, load_predictions, save_comparison, save_predictions
from tests.gates.builders import comparison, row


def predictions() -> Predictions:
    return Predictions(
        ("a.png", "b.png", "c.png"),
        ("cat", "dog"),
        np.array([0, 1, -1], np.int32),
        ("openvino CPU fp32", "openvino CPU int8"),
        {"answers": np.array([[0, 1, 1], [0, 0, 1]], np.int32), "confidences": np.full((2, 3), 0.75, np.float32)},
    )


def test_they_come_back_with_the_comparison_they_belong_to(tmp_path: Path) -> None:
    one = comparison(row("openvino", "int8"), predictions=predictions())
    saved = save_comparison(one, tmp_path)
    assert load_comparison(tmp_path).model_dump() == saved.model_dump()
    back = load_comparison(tmp_path).predictions
    assert back is not None
    assert (back.names, back.classes, back.keys) == (predictions().names, predictions().classes, predictions().keys)
    np.testing.assert_array_equal(back.labels, predictions().labels)
    assert back.kept.keys() == predictions().kept.keys()
    for name, values in predictions().kept.items():
        np.testing.assert_array_equal(back.kept[name], values)


def test_another_comparisons_answers_are_not_taken(tmp_path: Path) -> None:
    save_comparison(comparison(row("openvino", "int8"), predictions=predictions()), tmp_path)
    kept = (tmp_path / "predictions.npz").read_bytes()
    save_comparison(comparison(row("openvino", "int8")), tmp_path)
    assert not (tmp_path / "predictions.npz").exists()
    (tmp_path / "predictions.npz").write_bytes(kept)
    assert load_comparison(tmp_path).predictions is None


@pytest.mark.parametrize("spoil", ["truncated", "shape", "pickle"])
def test_a_damaged_file_is_an_error(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "predictions.npz"
    save_predictions(predictions(), path)
    with np.load(path) as file:
        arrays = dict(file)
    if spoil == "shape":
        arrays["labels"] = arrays["labels"][:2]
    if spoil == "pickle":
        arrays["names"] = np.array([{}, {}, {}], dtype=object)
    np.savez(path, **arrays)
    if spoil == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BadInput, match=r"predictions\.npz"):
        load_predictions(path)


def test_answers_beyond_the_classes_are_damage(tmp_path: Path) -> None:
    own = predictions()
    beyond = replace(own, kept={**own.kept, "answers": own.kept["answers"] + 1})
    save_comparison(comparison(row("openvino", "int8"), predictions=beyond), tmp_path)
    with pytest.raises(BadInput, match="answers beyond its classes"):
        load_comparison(tmp_path)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_figures_that_are_no_numbers_are_a_damaged_file(text: str, tmp_path: Path) -> None:
    save_comparison(comparison(row("openvino", "int8")), tmp_path)
    path = tmp_path / "comparison.json"
    path.write_text(re.sub(r'"p50": [^,]+', f'"p50": {text}', path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(BadInput, match=r"latency_ms\.p50: Input should be a finite number"):
        load_comparison(tmp_path)


def test_a_comparison_of_no_rows_is_a_damaged_file(tmp_path: Path) -> None:
    save_comparison(comparison(row("openvino", "int8")), tmp_path)
    path = tmp_path / "comparison.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"rows": []}), encoding="utf-8")
    with pytest.raises(BadInput, match="rows"):
        load_comparison(tmp_path)
