"""What the tests of counting on a GPU share. Without a GPU, CUDA's compiler or onnxruntime-gpu they are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantkit.calibrators.count_on_gpu import SOURCE
from quantkit.core.cuda import Kernels, select
from quantkit.core.errors import BackendMissing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of this folder's tests, and skip them where nothing can be counted."""
    own = [item for item in items if Path(__file__).parent in item.path.parents]
    reason = _missing() if own else ""
    for item in own:
        item.add_marker(pytest.mark.gpu)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def _missing() -> str:
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "This onnxruntime has no CUDA."
    try:
        select("cuda:0")
        Kernels(SOURCE)
    except BackendMissing as error:
        return str(error)
    return ""


@pytest.fixture
def kernels() -> Kernels:
    """The kernels, on the first GPU."""
    select("cuda:0")
    return Kernels(SOURCE)
