"""The release gate: rules over the figures of a comparison, alone or against FP32, FP16 or an earlier run.

``rule.py`` says what a rule is, ``judge.py`` applies them, ``starter.py`` writes first ones.
May import ``core`` and ``tasks``.
"""

from quantkit.gates.judge import GateResult, Verdict, gate
from quantkit.gates.rule import MOST_SENSIBLE_DROP, Rule

__all__ = ["MOST_SENSIBLE_DROP", "GateResult", "Rule", "Verdict", "gate"]
