"""Where time is spent: the layers of a compiled model, slowest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from quantkit.core.comparison import LayerTime, Row

MOST_LAYERS = 12  # shown by name; the rest in one line
COLOURED = ("int8", "f16", "f32")
UNTOLD = "other"  # a layer whose precision the runtime does not report


@dataclass(frozen=True)
class Share:
    """A share of the time: in milliseconds, and as a fraction of the total, 0..1."""

    title: str
    precision: str
    ms: float
    share: float
    kernel: str = ""

    @property
    def kind(self) -> str:
        """The precision that decides the colour."""
        return self.precision if self.precision in COLOURED else UNTOLD


@dataclass(frozen=True)
class LayerBreakdown:
    """The layers of a row.

    Attributes:
        row: The row.
        total_ms: The time of all layers.
        by_precision: The time by precision.
        slowest: The slowest layers.
        rest: The number of all other layers.
        rest_ms: The time of all other layers.
        fallbacks: The layers that were meant for INT8 but ran in another precision.
    """

    row: Row
    total_ms: float
    by_precision: tuple[Share, ...]
    slowest: tuple[Share, ...]
    rest: int
    rest_ms: float
    fallbacks: tuple[LayerTime, ...] = ()

    @property
    def adds_up(self) -> bool:
        """True if the layers take no longer together than the model; timed one by one, they may."""
        return self.total_ms <= self.row.latency_ms.p50

    @property
    def tells_kernels(self) -> bool:
        """True if the runtime reports the layers' kernels."""
        return any(share.kernel for share in self.slowest)


def breakdowns(rows: Sequence[Row]) -> list[LayerBreakdown]:
    """Return a breakdown for each row that has layer times."""
    return [_breakdown(row) for row in rows if row.layers]


def _breakdown(row: Row) -> LayerBreakdown:
    total = sum(layer.ms for layer in row.layers) or 1e-12
    precisions: dict[str, float] = defaultdict(float)
    for layer in row.layers:
        precisions[layer.precision or UNTOLD] += layer.ms
    ordered = sorted(row.layers, key=lambda layer: -layer.ms)
    named = ordered[:MOST_LAYERS]
    return LayerBreakdown(
        row,
        total,
        tuple(Share(p, p, ms, ms / total) for p, ms in sorted(precisions.items(), key=lambda item: -item[1])),
        tuple(
            Share(_short(layer), layer.precision or UNTOLD, layer.ms, layer.ms / total, layer.kernel) for layer in named
        ),
        len(ordered) - len(named),
        sum(layer.ms for layer in ordered[MOST_LAYERS:]),
        fallbacks_of(row),
    )


def fallbacks_of(row: Row) -> tuple[LayerTime, ...]:
    """Return the layers that were meant for INT8 but ran in another precision."""
    return tuple(layer for layer in row.layers if layer.meant and layer.precision != layer.meant)


def _short(layer: LayerTime) -> str:
    """Return the parts of a fused layer, without the weights' quantization that TensorRT lists first."""
    parts = layer.name.split(" + ")
    kept = [part for part in parts if not part.endswith(("_quantized", "_DequantizeLinear"))] or parts
    return " + ".join(kept)
