"""From activations to ranges: collect what a model computes into histograms, then solve each for its range.

One algorithm, one file; ``solve.py`` has the table, and a solver is a pure function from a histogram to a range.
May import ``core`` alone.
"""

from __future__ import annotations

from quantkit.calibrators.collect import Collector
from quantkit.calibrators.solve import Calibrator, calibrators, solve

__all__ = ["Calibrator", "Collector", "calibrators", "solve"]
