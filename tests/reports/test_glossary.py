"""One glossary: in the page and in the docs."""

from __future__ import annotations

from pathlib import Path

from quantkit.reports.glossary import TERMS, Explained, glossary_markdown
from tests.reports.builders import page

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_of_the_docs_is_made_from_it() -> None:
    written = (DOCS / "glossary.md").read_text("utf-8")
    assert written == glossary_markdown(), "python -m quantkit.reports.glossary > docs/glossary.md"


def test_every_term_is_explained_once_in_a_report() -> None:
    shown = page()
    for term in TERMS:
        assert shown.count("dd", id=term.anchor) == 1
        assert term.meaning in shown.words
    assert len({term.anchor for term in TERMS}) == len(TERMS)


def test_the_first_mention_is_marked_and_markup_code_and_names_are_left_alone() -> None:
    explained = Explained()
    first = explained.text("SQNR <b> `x`, latency_ms.p50 and p50; SQNR again")
    assert first.count('class="term"') == 2
    assert first.startswith('<a class="term" href="#term-sqnr" aria-describedby="term-sqnr">SQNR</a> &lt;b&gt;')
    assert "latency_ms.p50 and <a" in first
    assert explained.text("SQNR") == "SQNR"
    from markupsafe import Markup

    assert Explained().text(Markup("<code>SQNR</code>")) == "<code>SQNR</code>"
