"""quantkit: calibrate once, deploy INT8 on TensorRT, OpenVINO and ONNX Runtime, and prove that it holds.

The functions and value types below are imported when they are first used, so that ``import quantkit`` is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from quantkit.version import __version__

if TYPE_CHECKING:
    from quantkit.api import calibrate, compare, export, gate, load_calibration, load_comparison, merge, report, show
    from quantkit.core.calibration import Calibration
    from quantkit.core.comparison import Comparison
    from quantkit.core.errors import BackendMissing, BadInput, GateFailed, NothingEvaluated, QuantkitError
    from quantkit.core.preprocess import Preprocess
    from quantkit.core.ranges import TensorRange
    from quantkit.core.statistics.histogram import Histogram
    from quantkit.gates import GateResult, Rule

_HOMES = {
    "quantkit.api": (
        "calibrate",
        "compare",
        "export",
        "gate",
        "load_calibration",
        "load_comparison",
        "merge",
        "report",
        "show",
    ),
    "quantkit.core.calibration": ("Calibration",),
    "quantkit.core.comparison": ("Comparison",),
    "quantkit.core.errors": ("BackendMissing", "BadInput", "GateFailed", "NothingEvaluated", "QuantkitError"),
    "quantkit.core.statistics.histogram": ("Histogram",),
    "quantkit.core.preprocess": ("Preprocess",),
    "quantkit.core.ranges": ("TensorRange",),
    "quantkit.gates": ("GateResult", "Rule"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BackendMissing",
    "BadInput",
    "Calibration",
    "Comparison",
    "GateFailed",
    "GateResult",
    "Histogram",
    "NothingEvaluated",
    "Preprocess",
    "QuantkitError",
    "Rule",
    "TensorRange",
    "__version__",
    "calibrate",
    "compare",
    "export",
    "gate",
    "load_calibration",
    "load_comparison",
    "merge",
    "report",
    "show",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'quantkit' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
