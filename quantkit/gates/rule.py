"""One gate rule: a figure, the rows it applies to, and its limits."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PrivateAttr, model_validator

from quantkit.core.comparison import Comparison
from quantkit.core.errors import BadConfig
from quantkit.core.figures import ROW_METRICS, Metric, path_title
from quantkit.tasks import known_metrics

MOST_SENSIBLE_DROP = 0.1  # a limit this high must be a mistake: 0.5, meant as half a point, would let everything pass
PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")


def _checked_amount(value: object) -> object:
    """Return a number in the file's units, or a string such as "5 %", unchanged.

    Raises ValueError for anything else.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number and not (isinstance(value, str) and PERCENT.fullmatch(value.strip())):
        raise ValueError(f'{value!r} is neither a number nor a percentage such as "5 %"')
    return value


Amount = Annotated[float | str, BeforeValidator(_checked_amount)]


class Rule(BaseModel):
    """One ``[[gate]]`` table: limits for a figure of ``comparison.json``.

    Limits are in the file's units, so shares are 0..1: half a point is 0.005.

    Attributes:
        metric: The path of the figure in a row: ``metrics.NAME.value`` of a task's metric (or ``NAME`` for short),
            ``drop.NAME`` (how much worse it is than FP32's), ``agreement``, ``sqnr_db``, ``worst_part_sqnr_db``,
            ``worst_layer_sqnr_db``, ``speedup``, ``recommended``, ``latency_ms.p50``, ``throughput`` or ``size_bytes``.
        target: The name of a target, or a wildcard.
        precision: The name of a precision, or a wildcard. FP32 is never compared with itself.
        min: The lowest value that passes.
        max: The highest value that passes.
        against: What ``max_fall`` and ``max_rise`` compare with: "fp32" or "fp16" of the same target and batch, or
            "baseline", the same row of an earlier comparison.
        max_fall: How far the figure may be below the other's, in the file's units or in percent of the other's ("5 %").
        max_rise: How far the figure may be above the other's, likewise.
        statistic: "pessimistic" judges the bad end of the figure's 95 % interval instead of the value. That of latency
            is the spread of the interleaved rounds, and that of a speed-up comes from the ratios within them.
        level: "warn" reports a missed limit without failing the gate.
        strict: Judges by the value alone. Without it, a ``latency_ms.p50`` or ``speedup`` that misses a limit against
            another by a difference within the spread of the rounds is inconclusive, and so is a ``speedup`` whose
            interval holds ``min`` or ``max``. With it, figures that cannot be compared exit with 5.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)  # strict: true is not 1, nor "0.9" a number

    metric: str
    target: str = "*"
    precision: str = "int8"
    min: float | None = None
    max: float | None = None
    against: Literal["fp32", "fp16", "baseline"] | None = None
    max_fall: Amount | None = None
    max_rise: Amount | None = None
    statistic: Literal["value", "pessimistic"] = "value"
    level: Literal["error", "warn"] = "error"
    strict: bool = False

    _known: Metric | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _check(self) -> Rule:
        absolute = [limit for limit in (self.min, self.max) if limit is not None]
        amounts = [amount for amount in (self.max_fall, self.max_rise) if amount is not None]
        numbers = [amount for amount in amounts if isinstance(amount, float)]
        if self.against is None and amounts:
            raise ValueError('max_fall and max_rise need against = "fp32", "fp16" or "baseline"')
        if self.against is not None and (absolute or not amounts):
            raise ValueError("a rule with against has max_fall, max_rise or both, and neither min nor max")
        if self.against is None and not absolute:
            raise ValueError("a gate rule needs min or max")
        if not all(map(math.isfinite, absolute + numbers)):
            raise ValueError("limits must be finite")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}, so nothing can pass")
        if any(number < 0 for number in numbers):
            raise ValueError("max_fall and max_rise are distances: 0 or more")
        if nonsense := self._nonsense():
            raise ValueError(nonsense)
        if self.statistic == "pessimistic" and not self._can_have_interval():
            raise ValueError(f"{self.metric} has no interval to be pessimistic about")
        return self

    def of(self, comparison: Comparison) -> Rule:
        """Return the rule with the meaning of its figure in this comparison.

        Raises BadConfig for a limit that makes no sense.
        """
        rule = self.model_copy()
        name = metric_name(self.metric)
        rule._known = next((metric for metric in comparison.metrics if metric.name == name), None)
        if nonsense := rule._nonsense():
            raise BadConfig(f"A gate rule makes no sense: {nonsense}.", "Correct its limit.")
        return rule

    @property
    def figure(self) -> Metric:
        """The metric of the figure; before anything is measured it may be known by name only."""
        name = metric_name(self.metric)
        return self._known or ROW_METRICS.get(name) or known_metrics().get(name) or Metric(name=name, title=name)

    @property
    def is_drop(self) -> bool:
        """True if the figure is a difference from FP32's."""
        return self.metric.startswith("drop.")

    @property
    def is_share(self) -> bool:
        """True if the figure is a share, displayed in percent or points."""
        return self.figure.is_share

    @property
    def of_the_machine(self) -> bool:
        """True if the figure depends on the hardware, as latency does, and not only on the model and its data."""
        return self.figure.of_the_machine

    def _nonsense(self) -> str:
        """Return why a limit of a share must be a mistake; empty if it is plausible."""
        if not self.is_share:
            return ""
        absolute = [limit for limit in (self.min, self.max) if limit is not None]
        amounts = [amount for amount in (self.max_fall, self.max_rise) if amount is not None]
        numbers = [amount for amount in amounts if isinstance(amount, float)]
        if len(numbers) < len(amounts):
            return f"{self.metric} is a share: write 0.005 for half a point, not percent"
        if any(abs(limit) > 1 for limit in absolute):
            return f"{self.metric} is a share from 0 to 1: write 0.985 for 98.5 %, 0.005 for half a point"
        drops = [*absolute, *numbers] if self.is_drop else numbers
        if any(limit >= MOST_SENSIBLE_DROP for limit in drops):
            return f"{self.metric} {max(drops):g} is {100 * max(drops):g} points; half a point is 0.005"
        return ""

    def _can_have_interval(self) -> bool:
        """True if rows can have an interval for this figure; metrics that are not known yet may have one."""
        head, *rest = self.metric.split(".")
        if head == "latency_ms":
            return rest == ["p50"]
        whole = not rest or rest[1:] == ["value"] or self.is_drop
        name = metric_name(self.metric)
        known = ROW_METRICS.get(name) or known_metrics().get(name)
        return whole and (known is None or known.interval)

    def amount(self, limit: float | str, other: float) -> float:
        """Convert ``max_fall`` or ``max_rise`` to the file's units.

        A percentage of an infinite SQNR is 0, because every finite SQNR is infinitely far below it.

        Args:
            limit: The limit, as a number or a percentage.
            other: The figure that the percentage refers to.

        Returns:
            The limit in the file's units.
        """
        if isinstance(limit, str) and math.isinf(other):
            return 0.0
        found = PERCENT.fullmatch(limit.strip()) if isinstance(limit, str) else None
        return float(limit) if found is None else abs(other) * float(found[1]) / 100

    def format(self, value: float) -> str:
        """Format a value of this metric; for a rule with ``against``, the difference from the other's."""
        difference = self.is_drop or self.against is not None
        text = self.figure.format_difference(value) if difference else self.figure.format(value)
        return f"+{text}" if self.against and value > 0 else text

    @property
    def title(self) -> str:
        """The figure in words, such as "Top-1 lost"."""
        return path_title(self.metric, self.figure)

    def in_words(self) -> str:
        """Describe the rule with its figure in words: ``Top-1 lost ≤ 1.00 points``."""
        return self.title + self.describe().removeprefix(self.metric)

    def describe(self) -> str:
        """Describe the rule in one line, with its figure as it is written in files."""
        limits = [f"≥ {self.format(self.min)}"] if self.min is not None else []
        limits += [f"≤ {self.format(self.max)}"] if self.max is not None else []
        for what, amount in (("falls", self.max_fall), ("rises", self.max_rise)):
            if amount is not None:
                shown = amount if isinstance(amount, str) else self.format(amount).removeprefix("+")
                limits.append(f"{what} at most {shown}")
        than = f" against {WORDS.get(self.against, '')}" if self.against else ""
        return f"{self.metric} {' and '.join(limits)}{than}{', pessimistic' * (self.statistic == 'pessimistic')}"


WORDS = {"fp32": "FP32", "fp16": "FP16", "baseline": "the baseline"}


def metric_name(path: str) -> str:
    """Return the metric in a figure's path: ``top1`` for ``drop.top1`` and ``metrics.top1.value``."""
    head, *rest = path.split(".")
    return rest[0] if head in ("drop", "metrics", "changes") and rest else head
