"""The card on what to ship: the recommendation, and the file for each target, device and batch size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantkit.core.comparison import Comparison
from quantkit.gates.recommendation import Choice, recommend
from quantkit.gates.recommendation_words import file_of, megabytes, sentence


@dataclass(frozen=True)
class Shipment:
    """What to ship on one target.

    Attributes:
        choice: The choice.
        name: The precision, and the variant of INT8.
        why: The reason in a sentence or two, without the file.
        path: The file to load, relative to the run if it is there; empty if it was not kept.
        copied: The same path as a program anywhere takes it.
        size: The size of all its files.
    """

    choice: Choice
    name: str
    why: str
    path: str
    copied: str
    size: str


@dataclass(frozen=True)
class Shipping:
    """The overall recommendation, and one for each target, device and batch size."""

    overall: Shipment
    each: tuple[Shipment, ...]


def shipping(comparison: Comparison) -> Shipping:
    """Return what the card says."""
    found = recommend(comparison)
    each = tuple(_shipment(choice, comparison) for choice in found.each)
    return Shipping(next(one for one in each if one.choice is found.overall), each)


def _shipment(choice: Choice, comparison: Comparison) -> Shipment:
    row = choice.row
    path = file_of(row, comparison)
    return Shipment(
        choice=choice,
        name=f"{row.precision.upper()}{f' ({row.variant})' if row.variant else ''}",
        why=sentence(choice, comparison, with_file=False),
        path=row.path,
        copied=str(Path(path).absolute()) if path and comparison.folder is not None else path,
        size=megabytes(row),
    )
