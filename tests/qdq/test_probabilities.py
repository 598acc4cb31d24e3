"""Probabilities over many tokens are not rounded where most of them would vanish."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantkit.graph.model_file import open_model
from quantkit.qdq.attention import rounded_probabilities
from quantkit.targets.tensorrt.target import quantized_model
from tests.graphs.small import calibrated, db, network, outputs, paired, quantized

TEXT = """(float[N, TOKENS, TOKENS] scores, float[N, TOKENS, 32] v) => (float[N, TOKENS, 32] y) {
    p = Softmax <axis = -1> (scores)  y = MatMul (p, v)
}"""


def feeds(tokens: int) -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(0)
    scores = numbers.normal(size=(24, tokens, tokens)) * 2
    scores[:, 0, 0] = 20  # one token that looks at one alone, so that the range ends at 1
    return {
        "scores": scores.astype(np.float32),
        "v": numbers.normal(size=(24, tokens, 32)).astype(np.float32),
    }


def layers(tokens: int, dialect: str, folder: Path) -> dict[str, str]:
    model = network(TEXT.replace("TOKENS", str(tokens)))
    made = quantized(calibrated(model, feeds(tokens), folder), dialect)
    return dict(made.layers.left)


@pytest.mark.parametrize("dialect", ["onnxruntime", "openvino", "tensorrt"])
def test_many_tokens_stay_in_floating_point_and_few_do_not(dialect: str, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    (tmp_path / "few").mkdir()
    (reason,) = layers(256, dialect, tmp_path / "many").values()
    assert reason.startswith("rounding the probabilities p would leave")
    assert not layers(4, dialect, tmp_path / "few")


def test_what_rounding_them_would_cost(tmp_path: Path) -> None:
    """Ranges alone, as from a cache, do not tell what rounding would leave: every pair is trusted."""
    model, data = network(TEXT.replace("TOKENS", "256")), feeds(256)
    calibration = calibrated(model, data, tmp_path)
    rounded, _ = quantized_model(open_model(Path(calibration.model.path)), calibration.ranges, ())
    assert paired(rounded) == {"p", "v"}
    assert rounded_probabilities(rounded) == ["p"]
    assert db(outputs(model, data)[0], outputs(rounded, data, optimized=False)[0]) < 30
