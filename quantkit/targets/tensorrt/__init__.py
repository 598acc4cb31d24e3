"""TensorRT's files, written from any machine: no GPU and no TensorRT needed."""

from __future__ import annotations

from quantkit.targets.tensorrt.target import DEFAULT_VERSION, TensorRT

__all__ = ["DEFAULT_VERSION", "TensorRT"]
