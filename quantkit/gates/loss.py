"""What a row loses against FP32, beyond what chance explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from quantkit.core.comparison import Comparison, Row
from quantkit.core.decibels import FAR_DB, NOISE_DB, NOT_FINITE_DB

SIGNIFICANT = 0.05  # p-values below it are no chance
FEWEST_SAME = 0.95  # of the answers, where no labels tell which of them are right


@dataclass(frozen=True)
class Loss:
    """A loss of accuracy.

    Attributes:
        kind: "noise": an output has little in common with FP32's. "significant": a metric is worse, by a paired test
            over the samples. "answers": without labels, more than one answer in 20 is another than FP32's, as far as
            the interval of the agreement can tell. "far": without answers, an output is far from FP32's. "unknown":
            nothing was measured that tells.
        metric: The metric that is worse; empty for other kinds.
        subject: The output or the metric, for people.
        figures: The figures that show it, for people.
    """

    kind: Literal["noise", "significant", "answers", "far", "unknown"]
    metric: str = ""
    subject: str = ""
    figures: str = ""

    def of(self, name: str) -> str:
        """Return a clause about the row called ``name``."""
        return {
            "noise": f"{self.subject} of {name} is noise ({self.figures})",
            "significant": f"{name} loses {self.subject}, which is more than chance ({self.figures})",
            "answers": f"{name} gives other answers than FP32 in more than one sample of 20 ({self.figures})",
            "far": f"{self.subject} of {name} is far from FP32's ({self.figures})",
            "unknown": f"nothing tells how good the answers of {name} are",
        }[self.kind]


def loss_of(row: Row, comparison: Comparison) -> Loss | None:
    """Return what a row loses; None if it loses nothing that chance does not explain.

    With labels, the paired test of each metric decides. Without, agreement with FP32 does, and without answers the SQNR
    of the outputs; neither tells whether what changed became worse.
    """
    worst = row.worst_output
    if worst is not None and worst[1] < NOISE_DB:
        return Loss("noise", subject=worst[0], figures=_sqnr(worst[1]))
    for name, change in row.changes.items():
        drop, metric = row.drop.get(name, 0.0), comparison.metric(name)
        if drop > 0 and change.p_value < SIGNIFICANT:
            amount = f"{metric.format_difference(drop)} of {metric.title}"
            return Loss("significant", metric=name, subject=amount, figures=f"p = {change.p_value:.2g}")
    if row.changes:
        return None
    same = row.agreement_interval
    if same is not None and same.high is not None and same.high < FEWEST_SAME:
        figures = f"agreement {100 * same.value:.1f} %, at most {100 * same.high:.1f} % with 95 % confidence"
        return Loss("answers", figures=figures)
    if row.agreement is None and not row.drop and worst is not None and worst[1] < FAR_DB:
        return Loss("far", subject=worst[0], figures=_sqnr(worst[1]))
    if not row.is_reference and not row.has_sqnr and not row.metrics and row.agreement is None:
        return Loss("unknown")
    return None


def _sqnr(sqnr_db: float) -> str:
    return f"{sqnr_db:.1f} dB".replace("-", "\N{MINUS SIGN}") if sqnr_db > NOT_FINITE_DB else "not finite"
