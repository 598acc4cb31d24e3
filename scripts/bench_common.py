"""What the benchmarks that evaluate one model share: their options, and how a table shows accuracy."""

from __future__ import annotations

import argparse
from pathlib import Path


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """For a model, what it is calibrated with and what it is evaluated on."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--eval-data", type=Path, required=True)
    parser.add_argument("--eval-samples", type=int)
    parser.add_argument("--json", type=Path)
    return parser


def percent(value: float, low: float, high: float) -> str:
    """Shares with their interval: "93.20 [91.0, 94.8]"."""
    return f"{100 * value:.2f} [{100 * low:.1f}, {100 * high:.1f}]"


def decibels(value: float | None, digits: int = 1) -> str:
    """An SQNR, or a dash where the outputs are equal."""
    return "–" if value is None else f"{value:.{digits}f}"
