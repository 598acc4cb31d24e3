"""From activations to ranges: collect, then solve. One module per algorithm."""

from __future__ import annotations

from quantkit.calibrators.collect import Collector
from quantkit.calibrators.solve import Calibrator, calibrators, solve

__all__ = ["Calibrator", "Collector", "calibrators", "solve"]
