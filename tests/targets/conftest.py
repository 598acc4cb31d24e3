from __future__ import annotations

from pathlib import Path

import pytest

from quantkit.core.ranges import TensorRange
from quantkit.graph.model_file import ModelFile, open_model
from tests.graphs.quantized import X, ranges_of


@pytest.fixture
def tiny(model_path: Path) -> tuple[ModelFile, dict[str, TensorRange]]:
    model = open_model(model_path)
    return model, ranges_of(model, {"input": X})
