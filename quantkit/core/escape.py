"""Shows untrusted names, such as those of tensors and files, without what a terminal or a CI log would obey."""

from __future__ import annotations

import re

# C0 and C1 controls, and marks that change the direction of text or break lines; tab and newline are handled apart.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
COMMAND = re.compile(r"^(\s*)(::|##\[)", re.MULTILINE)  # GitHub and Azure obey lines that begin like this


def visible(text: str) -> str:
    """Return text of one or more lines with control characters as escapes, and no line that a CI system obeys."""
    if text.isascii() and text.isprintable() and not text.lstrip().startswith(("::", "##[")):
        return text
    shown = without_controls(text)
    return COMMAND.sub(lambda match: match[1] + "\\x3a" * 2 if match[2] == "::" else match[1] + "\\x23#[", shown)


def without_controls(text: str) -> str:
    """Return the text with control characters as escapes, except tabs and newlines."""
    return CONTROLS.sub(lambda match: _escape(match[0]), text)


def one_line(text: str) -> str:
    """Return the same for a name, in which newlines and tabs are escaped, too."""
    return visible(text.replace("\n", "\\n").replace("\t", "\\t"))


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
