"""What every JSON document has, and that of an error."""

from __future__ import annotations

from typing import Literal

from quantkit.core.record import Record


class Document(Record):
    """One JSON document.

    Attributes:
        schema_version: Raised when a key changes its meaning or goes; keys that are added do not raise it.
    """

    schema_version: Literal[1] = 1


class Failure(Record):
    """What is wrong, how to mend it, and the exit code."""

    what: str
    hint: str
    exit_code: int


class ErrorDocument(Document):
    """What any verb prints with ``--json`` if it fails."""

    error: Failure
