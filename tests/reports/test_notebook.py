"""``quantkit.show``: a report in a notebook, a summary in a terminal."""

from __future__ import annotations

from html.parser import HTMLParser

import quantkit
from quantkit.reports.html import html_report
from tests.reports.builders import HOSTILE, comparison


def test_a_notebook_gets_the_whole_report_in_a_frame_of_its_own() -> None:
    tags = []

    class Frames(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            tags.append((tag, dict(attributes)))

    compared = comparison(model=HOSTILE[0])
    Frames().feed(quantkit.show(compared)._repr_html_())
    [(tag, attributes)] = tags
    assert tag == "iframe"
    assert attributes["sandbox"] == "allow-scripts"
    assert attributes["srcdoc"] == html_report(None, compared, None)


def test_elsewhere_it_is_the_summary() -> None:
    assert "INT8 on openvino" in repr(quantkit.show(comparison()))
