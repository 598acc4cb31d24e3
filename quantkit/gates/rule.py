"""One gate rule: which figure of which rows, and within what limits."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

SHARES = ("top1", "top5", "agreement")
UNITS = {
    "latency_ms": " ms",
    "latency_with_copies_ms": " ms",
    "latency_graph_ms": " ms",
    "sqnr_db": " dB",
    "worst_layer_sqnr_db": " dB",
    "speedup": "x",
    "throughput": "/s",
    "size_bytes": " bytes",
}
WITH_INTERVAL = re.compile(r"(drop\.\w+|(metrics\.)?top[15](\.value)?|agreement|speedup|latency_ms\.p50)")
OF_THE_MACHINE = ("latency_ms", "latency_with_copies_ms", "latency_graph_ms", "throughput", "speedup", "gpu")
MOST_SENSIBLE_DROP = 0.1  # a limit this lax was meant in points: 0.5 for half a point would let everything pass
PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%")


def _checked_amount(value: object) -> object:
    """A number in the file's units, or a string such as "5 %", kept as it is; ValueError for anything else."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number and not (isinstance(value, str) and PERCENT.fullmatch(value.strip())):
        raise ValueError(f'{value!r} is neither a number nor a percentage such as "5 %"')
    return value


Amount = Annotated[float | str, BeforeValidator(_checked_amount)]


class Rule(BaseModel):
    """One ``[[gate]]`` table: limits for a figure of ``comparison.json``.

    ``metric`` is the figure's path in a row: ``drop.top1``, ``metrics.top1.value`` (or ``top1`` for short),
    ``agreement``, ``sqnr_db``, ``worst_layer_sqnr_db``, ``speedup``, ``latency_ms.p50``, ``throughput``,
    ``size_bytes``. Limits are in the file's units, so shares are 0..1: half a point is 0.005. ``target`` and
    ``precision`` are names or wildcards; a rule speaks of INT8 unless it says otherwise, and never of the FP32
    reference's comparison with itself.

    ``min`` and ``max`` bound the figure itself. With ``against`` ("fp32" or "fp16" of the same target and batch, or
    "baseline", the same row of an earlier comparison) ``max_fall`` and ``max_rise`` bound how far it may be from the
    other's: in the file's units, or as a string in percent of the other's ("5 %").

    ``statistic`` "pessimistic" judges the bad end of the figure's 95 % interval (of latency and speed-up: of what the
    interleaved rounds measured) in place of the value. A ``latency_ms.p50`` or ``speedup`` that misses a limit against
    another, but by a difference within the spread of the rounds, is inconclusive and fails no gate, unless ``strict``.
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
        if self.is_share and len(numbers) < len(amounts):
            raise ValueError(f"{self.metric} is a share: write 0.005 for half a point, not percent")
        if self.is_share and any(abs(limit) > 1 for limit in absolute):
            raise ValueError(f"{self.metric} is a share from 0 to 1: write 0.985 for 98.5 %, 0.005 for half a point")
        drops = [*absolute, *numbers] if self.metric.startswith("drop.") else numbers if self.is_share else []
        if any(limit >= MOST_SENSIBLE_DROP for limit in drops):
            raise ValueError(f"{self.metric} {max(drops):g} is {100 * max(drops):g} points; half a point is 0.005")
        if self.statistic == "pessimistic" and not WITH_INTERVAL.fullmatch(self.metric):
            raise ValueError(f"{self.metric} has no interval to be pessimistic about")
        return self

    @property
    def is_share(self) -> bool:
        """True if the metric is a share, shown to people in percent or points."""
        return self.metric.startswith(("drop.", "metrics.")) or self.metric in SHARES

    @property
    def of_the_machine(self) -> bool:
        """True if the figure belongs to the hardware, as latency does, and not to the model and its data."""
        return self.metric.split(".")[0] in OF_THE_MACHINE

    def amount(self, limit: float | str, other: float) -> float:
        """``max_fall`` or ``max_rise`` in the file's units, where the other's figure is ``other``.

        No percentage of an infinite SQNR leaves room: below it everything has fallen infinitely far.
        """
        if isinstance(limit, str) and math.isinf(other):
            return 0.0
        found = PERCENT.fullmatch(limit.strip()) if isinstance(limit, str) else None
        return float(limit) if found is None else abs(other) * float(found[1]) / 100

    def format(self, value: float) -> str:
        """A value of this metric as people read it; of a rule with ``against`` the difference from the other's."""
        if self.metric.startswith("drop.") or (self.is_share and self.against):
            text = f"{100 * value:.2f} points"
        elif self.is_share:
            text = f"{100 * value:.2f} %"
        else:
            text = f"{value:.4g}{UNITS.get(self.metric.split('.')[0], '')}"
        return f"+{text}" if self.against and value > 0 else text

    def describe(self) -> str:
        """The rule in one line."""
        limits = [f"≥ {self.format(self.min)}"] if self.min is not None else []
        limits += [f"≤ {self.format(self.max)}"] if self.max is not None else []
        for what, amount in (("falls", self.max_fall), ("rises", self.max_rise)):
            if amount is not None:
                shown = amount if isinstance(amount, str) else self.format(amount).removeprefix("+")
                limits.append(f"{what} at most {shown}")
        than = f" against {WORDS.get(self.against, '')}" if self.against else ""
        return f"{self.metric} {' and '.join(limits)}{than}{', pessimistic' * (self.statistic == 'pessimistic')}"


WORDS = {"fp32": "FP32", "fp16": "FP16", "baseline": "the baseline"}
