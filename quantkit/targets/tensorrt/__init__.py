"""TensorRT: exports on any machine; engines for a GPU that is here, and with TensorRT for RTX for GPUs that are not.

``target.py`` and ``rtx.py`` are the targets, ``qdq/`` their dialect, ``lint/`` its rules for any Q/DQ model;
``engine/`` builds and runs.
May import what every target may; see ``quantkit.targets``.
"""

from __future__ import annotations

from quantkit.targets.tensorrt.rtx import TensorRTForRTX
from quantkit.targets.tensorrt.target import DEFAULT_VERSION, TensorRT, TensorRTSettings, quantized_model

__all__ = ["DEFAULT_VERSION", "TensorRT", "TensorRTForRTX", "TensorRTSettings", "quantized_model"]
