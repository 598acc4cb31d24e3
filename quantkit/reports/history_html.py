"""The HTML page of several runs, in the style of the report."""

from __future__ import annotations

from quantkit.reports.charts.glyphs import GLYPHS
from quantkit.reports.charts.trend import trend_svg
from quantkit.reports.content.differences import row_differences
from quantkit.reports.content.history import History
from quantkit.reports.content.verdict import Judgement
from quantkit.reports.difference_html import Run, judge_difference
from quantkit.reports.page import page


def history_page(found: History) -> str:
    """Write a history as one HTML document; its verdict is that of the newest run against the one before.

    Args:
        found: The history, of at least two runs.

    Returns:
        The HTML document.
    """
    targets = list(dict.fromkeys(row.target for row, _ in found.lines))
    return page(
        "history.html",
        [],
        judgement=_judge(found),
        history=found,
        pictures=[(trend, trend_svg(trend, found, targets)) for trend in found.trends],
        glyphs={target: (GLYPHS[i % len(GLYPHS)], i % len(GLYPHS)) for i, target in enumerate(targets)},
    )


def _judge(found: History) -> Judgement:
    before, after = found.releases[-2:]
    rows = row_differences(before.comparison, after.comparison)
    return judge_difference(
        Run(before.name, before.calibration, before.comparison),
        Run(after.name, after.calibration, after.comparison),
        rows,
    )
