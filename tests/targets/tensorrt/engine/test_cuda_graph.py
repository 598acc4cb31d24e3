"""A CUDA graph that is refused leaves nothing behind. No GPU: a runtime that counts stands for CUDA's."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from quantkit.core.errors import BackendMissing
from quantkit.targets.tensorrt.engine import cuda

INVALIDATED = 901  # cudaErrorStreamCaptureInvalidated


class Runtime:
    """Gives the status that ``fails`` has for a call, else success; a failed call gives a null handle, as bindings may.

    ``calls`` counts them.
    """

    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, **fails: int) -> None:
        self.fails, self.calls = fails, Counter[str]()

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any) -> tuple[Any, ...]:
            assert "null" not in given
            self.calls[name] += 1
            status = self.fails.get(name, 0)
            return status, "null" if status else name

        return call


def refuse() -> None:
    raise BackendMissing("TensorRT failed to run it.", "Build it again.")


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("enqueue", "fails", "error"),
    [
        (lambda: None, {}, None),
        (lambda: None, {"cudaStreamEndCapture": INVALIDATED}, cuda.GraphRefused),
        (lambda: None, {"cudaGraphInstantiate": 2}, cuda.GraphRefused),
        (refuse, {}, cuda.GraphRefused),
        (refuse, {"cudaStreamEndCapture": INVALIDATED}, cuda.GraphRefused),
        (interrupt, {}, KeyboardInterrupt),
    ],
)
def test_what_is_recorded_ends_and_is_given_back(
    monkeypatch: pytest.MonkeyPatch, enqueue: Any, fails: dict[str, int], error: type[BaseException] | None
) -> None:
    runtime = Runtime(**fails)
    monkeypatch.setattr(cuda, "runtime", lambda: runtime)
    stream = SimpleNamespace(handle=7)
    raised: type[BaseException] | None = None
    try:
        cuda.CapturedGraph(stream, enqueue).launch(stream)  # type: ignore[arg-type]
    except (cuda.GraphRefused, KeyboardInterrupt) as refusal:
        raised = type(refusal)  # the exception itself would keep the graph
    calls = runtime.calls
    assert raised is error
    assert calls["cudaStreamBeginCapture"] == calls["cudaStreamEndCapture"] == 1
    assert calls["cudaGraphDestroy"] == ("cudaStreamEndCapture" not in fails)
    assert calls["cudaGraphExecDestroy"] == calls["cudaGraphLaunch"] == (error is None)
    assert calls["cudaGetLastError"] == bool(fails)
