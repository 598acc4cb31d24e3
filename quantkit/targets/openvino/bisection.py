"""Finds the layers that keep a model from compiling."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def offending(layers: Sequence[str], compiles: Callable[[Sequence[str]], bool]) -> list[str]:
    """Return the layers that must stay in floating point so that the model compiles.

    Halves are tested until single layers are left, which takes some 2·k·log2(n) tests for k of n layers. If layers fail
    only together, in a half where each alone compiles, all of them are returned.

    Args:
        layers: The layers to test.
        compiles: True if the model compiles with only the given layers quantized.

    Returns:
        The layers, in order.
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
