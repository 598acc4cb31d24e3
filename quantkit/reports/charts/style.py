"""The style that all charts share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from quantkit.core.caches import provide_cache_folder
from quantkit.reports.charts.svg import Palette

LONGEST_NAME = 28


@contextmanager
def drawing(salt: str) -> Iterator[None]:
    """Draw with fixed matplotlib settings inside the ``with`` block; ``salt`` makes the SVG's ids reproducible."""
    provide_cache_folder()
    import matplotlib

    settings = {"svg.fonttype": "none", "svg.hashsalt": salt, "font.family": "sans-serif", "font.size": 10}
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # ignore the user's matplotlibrc
        matplotlib.rcParams.update(settings)
        yield


def decorate(axes: Any, palette: Palette) -> None:
    """Draw grid and ticks, and the left and bottom spine only."""
    axes.grid(color=palette.grid, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(color=palette.grid, labelcolor=palette.ink, which="both")
    for side, spine in axes.spines.items():
        spine.set_color(palette.grid)
        spine.set_visible(side in ("left", "bottom"))


def legend(figure: Any, handles: Sequence[Any], names: Sequence[str], columns: int, palette: Palette) -> None:
    """Draw a legend above the plot.

    Args:
        figure: The matplotlib figure.
        handles: The symbols.
        names: The name of each symbol.
        columns: The number of columns.
        palette: The colours.
    """
    # Set the names afterwards, because matplotlib treats $…$ as a formula and omits names with a leading _.
    drawn = figure.legend(
        handles,
        [str(i) * 12 for i in range(len(names))],
        loc="outside upper left",
        ncols=columns,
        frameon=False,
        labelcolor=palette.ink,
        handletextpad=0.5,
    )
    for text, name in zip(drawn.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def shortened(name: str) -> str:
    """Shorten a name to fit in the chart, on one line."""
    name = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
