"""TensorRT: exports on any machine, engines on machines with a GPU and TensorRT.

``target.py`` is the target, ``qdq/`` its dialect, ``lint/`` its rules for any Q/DQ model; ``engine/`` builds and runs.
May import what every target may; see ``quantkit.targets``.
"""

from __future__ import annotations

from quantkit.targets.tensorrt.target import DEFAULT_VERSION, TensorRT, TensorRTSettings, quantized_model

__all__ = ["DEFAULT_VERSION", "TensorRT", "TensorRTSettings", "quantized_model"]
