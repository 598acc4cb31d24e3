"""Places a label beside each point of a plot so that it covers neither a point nor another label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

DISTANCES = (9.0, 16.0, 26.0, 38.0, 52.0)  # from the point, in typographic points
DIRECTIONS = ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1))
POINT_RADIUS = 7.0
LABEL = "label"
LEADER = 20.0  # labels this far away get a line to their point

Box = tuple[float, float, float, float]


def place_labels(axes: Any, labels: Sequence[tuple[float, float, str, str]]) -> None:
    """Annotate a plot. Greedy: each label gets the nearest free place around its point, or the nearest if none is free.

    Args:
        axes: The matplotlib axes, with final layout.
        labels: (x, y, text, colour) of each label; it becomes a group named ``LABEL``.
    """
    unit = axes.figure.dpi / 72
    frame = axes.get_window_extent()
    spots = [tuple(axes.transData.transform((x, y)) / unit) for x, y, _, _ in labels]
    radius = POINT_RADIUS
    taken: list[Box] = [(x - radius, y - radius, x + radius, y + radius) for x, y in spots]
    inside = (frame.x0 / unit, frame.y0 / unit, frame.x1 / unit, frame.y1 / unit)
    for (x, y, text, colour), spot in zip(labels, spots, strict=True):
        places = list(_places(spot, 6.4 * len(text), 11.0))
        free = [p for p in places if _within(p[1], inside) and not any(_overlap(p[1], box) for box in taken)]
        (dx, dy), box = (free or places)[0]
        taken.append(box)
        far = max(abs(dx), abs(dy)) >= LEADER
        annotation = axes.annotate(
            text,
            (x, y),
            (dx, dy),
            textcoords="offset points",
            ha={1: "left", 0: "center", -1: "right"}[(dx > 0) - (dx < 0)],
            va="center",
            color=colour,
            weight="bold",
            fontsize=9,
            parse_math=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkB": 5} if far else None,
        )
        annotation.set_gid(LABEL)


def _places(spot: tuple[float, ...], width: float, height: float) -> Iterator[tuple[tuple[float, float], Box]]:
    """Yield offsets from the point with the boxes that a label would cover there, nearest first."""
    x, y = spot
    for distance in DISTANCES:
        for right, up in DIRECTIONS:
            dx, dy = right * max(distance * 0.8, POINT_RADIUS + 2), up * distance
            left = x + dx - width * (1 - right) / 2
            yield (dx, dy), (left, y + dy - height / 2, left + width, y + dy + height / 2)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _within(a: Box, b: Box) -> bool:
    return a[0] >= b[0] and a[2] <= b[2] and a[1] >= b[1] and a[3] <= b[3]
