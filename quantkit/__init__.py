"""quantkit: calibrate once, deploy INT8 on TensorRT, OpenVINO and ONNX Runtime, and prove that it holds.

The functions and value types below are imported when they are first used, so that ``import quantkit`` is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from quantkit.version import __version__

if TYPE_CHECKING:
    from quantkit.api import calibrate, compare, merge, run
    from quantkit.core.artifact import Artifact
    from quantkit.core.calibration import Calibration
    from quantkit.core.comparison import Comparison
    from quantkit.core.errors import (
        BackendMissing,
        BadConfig,
        BadData,
        BadInput,
        BadModel,
        BadRun,
        GateFailed,
        NothingEvaluated,
        QuantkitError,
        TargetRefuses,
    )
    from quantkit.core.figures import Metric
    from quantkit.core.preprocess import Preparation, Preprocess
    from quantkit.core.ranges import TensorRange
    from quantkit.core.recipe import Recipe
    from quantkit.core.sensitivity import LayerSensitivity, Loss, Sensitivity
    from quantkit.core.statistics.histogram import Histogram
    from quantkit.core.tuning import Goal, Measured, TuneStep, Tuning
    from quantkit.datasets.text_settings import TextSettings
    from quantkit.deployment import build, export
    from quantkit.gates import GateResult, Rule
    from quantkit.interchange import check, convert, lint
    from quantkit.results import gate, load_calibration, load_comparison, report, show
    from quantkit.tuning import sensitivity, tune

_HOMES = {
    "quantkit.api": (
        "calibrate",
        "compare",
        "merge",
        "run",
    ),
    "quantkit.deployment": (
        "build",
        "export",
    ),
    "quantkit.interchange": (
        "check",
        "convert",
        "lint",
    ),
    "quantkit.results": (
        "gate",
        "load_calibration",
        "load_comparison",
        "report",
        "show",
    ),
    "quantkit.tuning": (
        "sensitivity",
        "tune",
    ),
    "quantkit.core.artifact": ("Artifact",),
    "quantkit.core.calibration": ("Calibration",),
    "quantkit.core.comparison": ("Comparison",),
    "quantkit.core.errors": (
        "BackendMissing",
        "BadConfig",
        "BadData",
        "BadInput",
        "BadModel",
        "BadRun",
        "GateFailed",
        "NothingEvaluated",
        "QuantkitError",
        "TargetRefuses",
    ),
    "quantkit.core.figures": ("Metric",),
    "quantkit.core.preprocess": (
        "Preparation",
        "Preprocess",
    ),
    "quantkit.core.ranges": ("TensorRange",),
    "quantkit.core.recipe": ("Recipe",),
    "quantkit.core.sensitivity": (
        "LayerSensitivity",
        "Loss",
        "Sensitivity",
    ),
    "quantkit.core.statistics.histogram": ("Histogram",),
    "quantkit.core.tuning": (
        "Goal",
        "Measured",
        "TuneStep",
        "Tuning",
    ),
    "quantkit.datasets.text_settings": ("TextSettings",),
    "quantkit.gates": (
        "GateResult",
        "Rule",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Artifact",
    "BackendMissing",
    "BadConfig",
    "BadData",
    "BadInput",
    "BadModel",
    "BadRun",
    "Calibration",
    "Comparison",
    "GateFailed",
    "GateResult",
    "Goal",
    "Histogram",
    "LayerSensitivity",
    "Loss",
    "Measured",
    "Metric",
    "NothingEvaluated",
    "Preparation",
    "Preprocess",
    "QuantkitError",
    "Recipe",
    "Rule",
    "Sensitivity",
    "TargetRefuses",
    "TensorRange",
    "TextSettings",
    "TuneStep",
    "Tuning",
    "__version__",
    "build",
    "calibrate",
    "check",
    "compare",
    "convert",
    "export",
    "gate",
    "lint",
    "load_calibration",
    "load_comparison",
    "merge",
    "report",
    "run",
    "sensitivity",
    "show",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'quantkit' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
