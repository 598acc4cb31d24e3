"""The release gate: rules that limit the figures of a comparison, alone or against FP32, FP16 or an earlier run."""

from quantkit.gates.judge import GateResult, Verdict, gate
from quantkit.gates.rule import MOST_SENSIBLE_DROP, Rule

__all__ = ["MOST_SENSIBLE_DROP", "GateResult", "Rule", "Verdict", "gate"]
