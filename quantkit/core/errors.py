"""Errors for users: one sentence on what is wrong, one on how to fix it."""

from __future__ import annotations


class QuantkitError(Exception):
    """The base class of all errors that quantkit raises on purpose.

    ``what`` names the file, tensor or key at fault; ``hint`` says what to do about it. ``exit_code`` is the exit status
    of the command line.
    """

    exit_code = 2

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(f"{what} {hint}")
        self.what = what
        self.hint = hint

    def __reduce__(self) -> tuple[type[QuantkitError], tuple[str, str]]:
        """Support pickling, so that the error can come back from another process."""
        return type(self), (self.what, self.hint)


class BadInput(QuantkitError):
    """A file, folder, option or configuration that cannot be used (exit 2)."""


class BadModel(BadInput):
    """A model that cannot be read or run."""


class TargetRefuses(BadModel):
    """A model that one target cannot convert, load or compile, though others may."""


class BadData(BadInput):
    """Samples or labels that cannot be read, or do not fit the model."""


class BadConfig(BadInput):
    """A setting or an option that makes no sense."""


class BadRun(BadInput):
    """A run directory, or a file in it, that is missing, damaged or of another version."""


class BackendMissing(QuantkitError):
    """A target's library or device is missing (exit 3)."""

    exit_code = 3


class NothingEvaluated(QuantkitError):
    """There is nothing to judge (exit 5)."""

    exit_code = 5


class GateFailed(QuantkitError):
    """A gate rule of level ``error`` failed (exit 1)."""

    exit_code = 1
