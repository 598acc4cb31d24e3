"""Places a label beside each point of a plot so that it covers neither a point nor another label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from quantkit.reports.charts.text import text_width

DISTANCES = (9.0, 16.0, 26.0, 38.0, 52.0, 68.0)  # from the point, in the chart's units
DIRECTIONS = ((1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1), (0, 1))
POINT_RADIUS = 7.0
HEIGHT = 11.0
SIZE = 9.0
LEADER = 20.0  # labels this far away get a line to their point

Anchor = Literal["start", "middle", "end"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Label:
    """A label to place: its point, in the chart's units, its text and its colour."""

    x: float
    y: float
    text: str
    colour: str


@dataclass(frozen=True)
class Placed:
    """A label, the place of its text's middle line, its anchor, the box it covers, whether it is far from its point."""

    label: Label
    x: float
    y: float
    anchor: Anchor
    box: Box
    far: bool


def place_labels(labels: Sequence[Label], inside: Box) -> list[Placed]:
    """Place labels greedily: each gets the nearest free place around its point.

    Where there is none, its first word alone gets one; where there is none for that either, it is left out.

    Args:
        labels: The labels, the most important first.
        inside: The left, top, right and bottom that labels must not leave.

    Returns:
        The labels that have a place, in the same order.
    """
    radius = POINT_RADIUS
    taken: list[Box] = [(own.x - radius, own.y - radius, own.x + radius, own.y + radius) for own in labels]
    found = []
    for own in labels:
        places = (place for text in dict.fromkeys((own.text, own.text.split(" ")[0])) for place in _places(own, text))
        free = (p for p in places if _within(p.box, inside) and not any(_overlap(p.box, box) for box in taken))
        if best := next(free, None):
            taken.append(best.box)
            found.append(best)
    return found


def _places(own: Label, text: str) -> Iterator[Placed]:
    """Yield the places for a text around the label's point, nearest first."""
    width = text_width(text, SIZE)
    for distance in DISTANCES:
        for right, down in DIRECTIONS:
            dx, dy = right * max(distance * 0.8, POINT_RADIUS + 2), down * distance
            x, y = own.x + dx, own.y + dy
            left = x - width * (1 - right) / 2
            anchor: Anchor = "start" if right > 0 else "end" if right < 0 else "middle"
            box = (left, y - HEIGHT / 2, left + width, y + HEIGHT / 2)
            yield Placed(replace(own, text=text), x, y, anchor, box, max(abs(dx), abs(dy)) >= LEADER)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _within(a: Box, b: Box) -> bool:
    return a[0] >= b[0] and a[2] <= b[2] and a[1] >= b[1] and a[3] <= b[3]
