from __future__ import annotations

from quantkit.targets.onnxruntime.target import OnnxRuntime
from tests.targets.template import RunnableTarget


class TestOnnxRuntime(RunnableTarget):
    target = OnnxRuntime()
