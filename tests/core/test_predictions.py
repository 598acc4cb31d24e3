"""predictions.npz: what each model answered."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from quantkit.core.comparison import Comparison
from quantkit.core.errors import BadInput
from quantkit.core.predictions import Predictions, best_of
from tests.gates.test_rules import comparison, row


def predictions() -> Predictions:
    return Predictions(
        ("a.png", "b.png", "c.png"),
        ("cat", "dog"),
        np.array([0, 1, -1], np.int32),
        ("openvino CPU fp32", "openvino CPU int8"),
        np.array([[0, 1, 1], [0, 0, 1]], np.int32),
        np.full((2, 3), 0.75, np.float32),
    )


def test_they_come_back_with_the_comparison_they_belong_to(tmp_path: Path) -> None:
    one = comparison(row("openvino", "int8")).attach(predictions())
    saved = one.save(tmp_path)
    assert type(one).load(tmp_path).model_dump() == saved.model_dump()
    back = type(one).load(tmp_path).predictions
    assert back is not None
    assert (back.names, back.classes, back.keys) == (predictions().names, predictions().classes, predictions().keys)
    for name in ("labels", "answers", "confidences"):
        np.testing.assert_array_equal(getattr(back, name), getattr(predictions(), name))


def test_another_comparisons_answers_are_not_taken(tmp_path: Path) -> None:
    comparison(row("openvino", "int8")).attach(predictions()).save(tmp_path)
    kept = (tmp_path / "predictions.npz").read_bytes()
    comparison(row("openvino", "int8")).save(tmp_path)
    assert not (tmp_path / "predictions.npz").exists()
    (tmp_path / "predictions.npz").write_bytes(kept)
    assert Comparison.load(tmp_path).predictions is None


@pytest.mark.parametrize("spoil", ["truncated", "shape", "class", "pickle"])
def test_a_damaged_file_is_an_error(tmp_path: Path, spoil: str) -> None:
    arrays, path = predictions().arrays(), tmp_path / "predictions.npz"
    if spoil == "shape":
        arrays["labels"] = arrays["labels"][:2]
    if spoil == "class":
        arrays["answers"] = arrays["answers"] + 1
    if spoil == "pickle":
        arrays["names"] = np.array([{}, {}, {}], dtype=object)
    np.savez(path, **arrays)
    if spoil == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(BadInput, match=r"predictions\.npz"):
        Predictions.load(path)


def test_confidence_is_softmaxs_share_and_shares_stay() -> None:
    scores = np.array([[0.0, np.log(3.0)], [1000.0, 0.0], [np.nan, 1.0]], np.float32)
    best, confidence = best_of(scores[:2])
    assert best.tolist() == [1, 0]
    np.testing.assert_allclose(confidence, [0.75, 1.0], rtol=1e-6)
    assert best_of(scores)[1][2] == 0
    np.testing.assert_allclose(best_of(np.array([[0.2, 0.8]]))[1], [0.8])


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_figures_that_are_no_numbers_are_a_damaged_file(text: str, tmp_path: Path) -> None:
    comparison(row("openvino", "int8")).save(tmp_path)
    path = tmp_path / "comparison.json"
    path.write_text(re.sub(r'"p50": [^,]+', f'"p50": {text}', path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(BadInput, match=r"latency_ms\.p50: Input should be a finite number"):
        Comparison.load(tmp_path)


def test_a_comparison_of_no_rows_is_a_damaged_file(tmp_path: Path) -> None:
    comparison(row("openvino", "int8")).save(tmp_path)
    path = tmp_path / "comparison.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"rows": []}), encoding="utf-8")
    with pytest.raises(BadInput, match="rows"):
        Comparison.load(tmp_path)
