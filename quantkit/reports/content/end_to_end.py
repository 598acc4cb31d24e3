"""Where the time from a file to an answer goes, and what would mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quantkit.core.comparison import Row
from quantkit.core.end_to_end import PARTS, EndToEnd
from quantkit.reports.wording import row_name

MOST = 0.5  # the share of a pipeline from which on one part is called its bottleneck
MENDS = {
    "decode": "Read ahead in more threads or processes, or store images smaller; a faster network changes little.",
    "preprocess": "Prepare images on the device or inside the model, as OpenVINO's IR does after quantkit export "
    "--embed-preprocessing.",
    "copies": "Keep inputs in pinned memory, and copy while the device computes.",
    "network": "The network is what is left to make faster.",
    "answer": "Let the model end in fewer candidates, with its non-maximum suppression inside, or raise the threshold.",
}


@dataclass(frozen=True)
class PipelineTimes:
    """One row's way from a file to an answer.

    Attributes:
        title: The row, in words.
        times: Its times.
        longest: The longest pipeline's milliseconds, which bars are drawn relative to.
    """

    title: str
    times: EndToEnd
    longest: float

    @property
    def shares(self) -> list[tuple[str, str, float, float]]:
        """The name, the words, the milliseconds and the share of the longest pipeline, of each part that takes time."""
        each = self.times.parts.items()
        return [(name, PARTS[name], ms, ms / self.longest) for name, ms in each if ms > 0]


def pipelines(rows: Sequence[Row]) -> list[PipelineTimes]:
    """Return the pipelines that were measured."""
    found = [(row_name(row, rows), row.end_to_end) for row in rows if row.end_to_end is not None]
    longest = max((times.total for _, times in found), default=1.0) or 1.0
    return [PipelineTimes(title, times, longest) for title, times in found]


def advice(rows: Sequence[Row]) -> list[str]:
    """Say which part is the bottleneck of the fastest pipeline, and what would mend it."""
    found = pipelines(rows)
    if not found:
        return []
    best = min(found, key=lambda own: own.times.total)
    part = best.times.bottleneck
    share = best.times.parts[part] / (best.times.total or 1.0)
    mostly = "most of its time" if share > MOST else "more of its time than anything else"
    first = f"{best.title} is fastest from file to answer; {PARTS[part]} takes {mostly} ({share:.0%}). {MENDS[part]}"
    return [first]
