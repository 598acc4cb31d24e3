"""Renders HTML pages from a template, with style and script embedded, and without external resources."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from quantkit.reports import wording
from quantkit.reports.glossary import TERMS, Explained, term_of

DAGRE = Path(__file__).parent / "vendor" / "dagre.min.js"
_UNSAFE_IN_SCRIPT = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
_UNITS = re.compile(r"(?<=\d) (?=(?:%|ms|dB|points?|samples)(?!\w))|(?<=[≤≥]) (?=\S)|(?<=\bp) (?==)|(?<=\bp =) (?=\d)")
_RANGE = re.compile(r"(?<=\d)–(?=\d)")
_CODE = re.compile(r"`([^`]+)`")
_ISO_UTC = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)\S*(?:\+00:00|Z)$")


def page(template: str, charts: list[Any], *, network: dict[str, Any] | None = None, **values: Any) -> str:
    """Render a template.

    All values are escaped, and the page's content security policy forbids requests and all scripts but its own.

    Args:
        template: The file name of the template.
        charts: The data that the script draws.
        network: The network that graph.js draws, which comes with the library that lays it out; None for a page
            without.
        values: The variables of the template.

    Returns:
        The HTML document.
    """
    environment = _environment()
    explained = Explained()
    environment.filters["explained"] = explained.text
    scripts, styles = [_source(environment, "report.js")], [_source(environment, "report.css")]
    data: dict[str, Any] = {"charts": charts}
    if network is not None:
        data["network"] = network
        scripts += [DAGRE.read_text("utf-8").strip(), _source(environment, "graph.js")]
        styles.append(_source(environment, "graph.css"))
    return environment.get_template(template).render(
        data=Markup(script_json(data)),
        style=Markup("\n".join(styles)),
        scripts=[Markup(script) for script in scripts],
        script_hashes=[base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts],
        network=network,
        wording=wording,
        glossary=TERMS,
        term=explained.heading,
        term_of=term_of,
        **values,
    )


def script_json(value: Any) -> str:
    """Return JSON that is safe inside a <script> element, without ``<``, ``>``, ``&``, U+2028 and U+2029."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_UNSAFE_IN_SCRIPT)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("quantkit.reports", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["units"] = _unbroken
    environment.filters["code"] = _with_code
    environment.filters["moment"] = lambda text: _ISO_UTC.sub(r"\1 \2 UTC", text)
    return environment


def _unbroken(text: str) -> str:
    """Prevent line breaks between a figure and its unit, and inside an interval."""
    return type(text)(_RANGE.sub("\N{WORD JOINER}–\N{WORD JOINER}", _UNITS.sub("\N{NO-BREAK SPACE}", text)))


def _with_code(text: str) -> Markup:
    """Escape a sentence, and set what stands in backquotes as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))


def _source(environment: Environment, name: str) -> str:
    """Return a template file unchanged."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0].strip()
