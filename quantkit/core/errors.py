"""Errors that people see: one sentence on what is wrong, one on how to mend it."""

from __future__ import annotations


class QuantkitError(Exception):
    """Base of all errors quantkit raises on purpose.

    ``what`` names the file, tensor or key at fault; ``mend`` says what to do about it. ``exit_code`` is the process's
    exit status when the error reaches the command line.
    """

    exit_code = 2

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what} {mend}")
        self.what = what
        self.mend = mend

    def __reduce__(self) -> tuple[type[QuantkitError], tuple[str, str]]:
        """Pickles, as it must to come back from another process."""
        return type(self), (self.what, self.mend)


class BadInput(QuantkitError):
    """A file, folder, option or configuration that cannot be used (exit 2)."""


class TargetRefuses(BadInput):
    """A model that one target cannot convert, load or compile, though others may."""


class BackendMissing(QuantkitError):
    """A target's library or device is not here (exit 3)."""

    exit_code = 3


class NothingEvaluated(QuantkitError):
    """There was nothing to judge (exit 5)."""

    exit_code = 5


class GateFailed(QuantkitError):
    """A gate rule of level ``error`` was not met (exit 1)."""

    exit_code = 1
