from __future__ import annotations

from quantkit.targets.onnxruntime import OnnxRuntime
from tests.targets.template import RunnableTarget


class TestOnnxRuntime(RunnableTarget):
    target = OnnxRuntime()
