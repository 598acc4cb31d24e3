"""What became of a model's weighted layers and products in an INT8 artifact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_REASONS = 3  # in a sentence; the whole list is in the record


@dataclass(frozen=True)
class Layers:
    """The layers of an INT8 artifact.

    Attributes:
        total: The number of Convs, transposed Convs, Gemms and MatMuls in the model, those in subgraphs among them.
        left: Those that stay in floating point, each with the reason in words.
    """

    total: int
    left: Mapping[str, str] = field(default_factory=dict)

    @property
    def quantized(self) -> int:
        """The number of layers in INT8."""
        return self.total - len(self.left)

    def describe(self) -> str:
        """Return one line: how many layers are in INT8, and why the others are not."""
        if not self.total:
            return "the model has no layer that INT8 could speed up"
        line = f"{self.quantized} of {self.total} layers in INT8"
        if not self.left:
            return line
        reasons = Counter(self.left.values()).most_common()
        parts = [f"{count} × {reason}" if count > 1 else self._one(reason) for reason, count in reasons[:MOST_REASONS]]
        rest = sum(count for _, count in reasons[MOST_REASONS:])
        return f"{line}; in floating point: {'; '.join(parts)}" + (f"; and {rest} more" if rest else "")

    def _one(self, reason: str) -> str:
        name = next(name for name, own in self.left.items() if own == reason)
        return f"{name}: {reason}"

    def by_reason(self) -> dict[str, list[str]]:
        """Return the layers in floating point by reason, the most frequent reason first."""
        names: dict[str, list[str]] = {}
        for name, reason in self.left.items():
            names.setdefault(reason, []).append(name)
        return dict(sorted(names.items(), key=lambda item: -len(item[1])))

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Layers:
        """Read what :meth:`to_dict` returned. Raises KeyError, TypeError or ValueError for anything else."""
        return cls(int(record["total"]), {str(name): str(reason) for name, reason in dict(record["left"]).items()})

    def to_dict(self) -> dict[str, Any]:
        """Return the record as values for JSON."""
        return {"total": self.total, "quantized": self.quantized, "left": dict(self.left)}
