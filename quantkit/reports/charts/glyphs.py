"""The markers that tell targets apart, as paths in a box of 16 × 16, in the order of the colours --c0 … --c5."""

from __future__ import annotations

GLYPHS = (
    "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11z",
    "M3 3h10v10H3z",
    "M8 2.5l5.5 11h-11z",
    "M8 1.5L14.5 8L8 14.5L1.5 8z",
    "M8 13.5l5.5-11h-11z",
    "M6 2.5h4V6h3.5v4H10v3.5H6V10H2.5V6H6z",
)
