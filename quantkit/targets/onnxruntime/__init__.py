"""ONNX Runtime: the target and its Q/DQ dialect.

FP32 is the user's own file; FP16 and INT8 are ONNX files made from it.
May import what every target may; see ``quantkit.targets``.
"""

from __future__ import annotations

from quantkit.targets.onnxruntime.target import OnnxRuntime

__all__ = ["OnnxRuntime"]
