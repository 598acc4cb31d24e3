"""The release gate: rules over the figures of a comparison, alone or against FP32, FP16 or an earlier run.

``rule.py`` says what a rule is, ``judge.py`` applies them, ``starter.py`` writes first ones. ``recommendation.py`` says
what to ship, and whether INT8 is worth it.
May import ``core``, ``measure`` and ``tasks``.
"""

from quantkit.gates.judge import GateResult, Verdict, gate
from quantkit.gates.rule import MOST_SENSIBLE_DROP, Rule

__all__ = ["MOST_SENSIBLE_DROP", "GateResult", "Rule", "Verdict", "gate"]
