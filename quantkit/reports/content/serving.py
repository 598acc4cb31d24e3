"""What models give as servers: requests a second against how long they take, and where more streams stop paying."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantkit.core.comparison import Comparison
from quantkit.core.serving import ENOUGH, Load, Serving
from quantkit.reports.wording import row_name


@dataclass(frozen=True)
class Served:
    """One model as a server.

    Attributes:
        title: The model, in words, with the devices if there are several.
        target: Its target.
        serving: Its loads.
    """

    title: str
    target: str
    serving: Serving

    def cells(self, load: Load) -> dict[str, str]:
        """Return the figures of one of its loads by title; samples only if a request has several."""
        figures = {"Requests/s": load.per_second}
        figures |= {"Samples/s": load.per_second * self.serving.batch} if self.serving.batch > 1 else {}
        figures |= {"p50, ms": load.p50_ms, "p99, ms": load.p99_ms}
        figures |= {} if load.joules is None else {"J a request": load.joules}
        return {"Streams": str(load.streams)} | {title: _told(value) for title, value in figures.items()}


def served_models(comparison: Comparison) -> list[Served]:
    """Return all models that were measured as servers; those on several devices together come last."""
    rows = comparison.rows
    found = [Served(row_name(row, rows), row.target, row.serving) for row in rows if row.serving is not None]
    for one in comparison.together:
        variant = f" ({one.variant})" if one.variant else ""
        devices = " and ".join(one.serving.devices)
        title = f"{one.target} {one.precision.upper()}{variant} on {devices} together"
        found.append(Served(title, one.target, one.serving))
    return found


def serving_table(served: Sequence[Served]) -> tuple[list[str], list[list[str]]]:
    """Return the titles and the rows of a table of all loads; a model's name stands in the first of its rows."""
    each = [(own, load, own.cells(load)) for own in served for load in own.serving.loads]
    titles = list(dict.fromkeys(title for _, _, cells in each for title in cells))
    rows = [
        [own.title if load is own.serving.loads[0] else "", *(cells.get(title, "") for title in titles)]
        for own, load, cells in each
    ]
    return titles, rows


def knees(served: Sequence[Served]) -> list[str]:
    """Say for each model how many streams are enough."""
    return [_knee(own) for own in served if len(own.serving.loads) > 1]


def _knee(own: Served) -> str:
    knee, most = own.serving.knee, own.serving.most
    what = f"{_told(knee.per_second)} requests/s with a p99 of {knee.p99_ms:.3g} ms"
    if knee.streams == own.serving.loads[-1].streams:
        more = "more may give more" if own.serving.beyond is None else "the device holds no more"
        tried = "the most that were tried" if own.serving.beyond is None else "the most that fit"
        return f"{own.title}: {knee.streams} streams, {tried}, give {what}; {more}."
    streams = "1 stream is" if knee.streams == 1 else f"{knee.streams} streams are"
    first = f"{own.title}: {streams} enough, for {what}"
    last = own.serving.loads[-1]
    gain = (
        "give no more"
        if last is not most and last.per_second <= knee.per_second
        else (f"give {last.per_second / knee.per_second - 1:+.0%}")
    )
    return f"{first}; {last.streams} {gain}, with a p99 of {last.p99_ms:.3g} ms."


def footnote() -> str:
    """Say what is measured."""
    return (
        "A request is a batch, with its copies to and from a device; the next is handed over as soon as one is "
        "answered. "
        f"Enough is the fewest streams with {ENOUGH:.0%} of the most requests a second."
    )


def _told(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
