"""Object detection: heads, non-maximum suppression, mean average precision, agreement with FP32."""

from __future__ import annotations

from quantkit.tasks.detection.task import Detection

__all__ = ["Detection"]
