from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from quantkit.graph import save
from tests.conftest import tiny_model
from tests.graphs.quantized import X, run


def test_two_models_lie_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(save, "LARGEST_SINGLE_FILE", 1000)
    for name in (save.MODEL_FILE, "strongly_typed.onnx"):
        save.save_model(tiny_model(), tmp_path, name)
    names = ["model.onnx", "model.onnx.data", "strongly_typed.onnx", "strongly_typed.onnx.data"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    for name in names[::2]:
        run(onnx.load(tmp_path / name), {"input": X})
