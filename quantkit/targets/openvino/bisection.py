"""Which layers keep a model from compiling."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def offending(layers: Sequence[str], compiles: Callable[[Sequence[str]], bool]) -> list[str]:
    """The ``layers`` that must stay in floating point so that the model compiles, in order.

    ``compiles`` says whether the model does with just the given layers quantized; it is asked about halves until single
    layers are left, some 2·k·log2(n) times for k of n layers. Layers that fail only together, in a half where each
    alone compiles, all count.
    """
    if not layers or compiles(layers):
        return []
    if len(layers) == 1:
        return list(layers)
    middle = len(layers) // 2
    found = offending(layers[:middle], compiles) + offending(layers[middle:], compiles)
    rest = [layer for layer in layers if layer not in found]
    if not found or not compiles(rest):
        return list(layers)  # no part fails by itself
    return found
