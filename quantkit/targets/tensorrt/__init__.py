"""TensorRT: files from any machine, engines where a GPU and TensorRT are."""

from __future__ import annotations

from quantkit.targets.tensorrt.target import DEFAULT_VERSION, TensorRT, TensorRTSettings, quantized_model

__all__ = ["DEFAULT_VERSION", "TensorRT", "TensorRTSettings", "quantized_model"]
