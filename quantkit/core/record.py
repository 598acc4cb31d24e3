"""The base class of a run's JSON files: frozen, typed, no unknown keys."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from quantkit.core.errors import BadRun


class Record(BaseModel):
    """A JSON object in a file of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)


R = TypeVar("R", bound=Record)


def read_record(kind: type[R], path: Path, command: str) -> R:
    """Parse a JSON file.

    Args:
        kind: The class of the record.
        path: The file.
        command: The command that writes the file, for error messages.

    Returns:
        The record.

    Raises:
        BadRun: The file is missing, damaged or of another version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRun(f"{path} cannot be read.", f"Make it with {command}.") from error
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        problems = {".".join(map(str, problem["loc"])): problem["msg"] for problem in error.errors()}
        stale = "schema_version" in problems
        where, message = next(iter(problems.items()))
        other_keys = any(problem["type"] in ("missing", "extra_forbidden") for problem in error.errors())
        harm = "is damaged, or of another version of quantkit" if other_keys else "is damaged"
        raise BadRun(
            f"{path} was written by another version of quantkit."
            if stale
            else f"{path} {harm} ({where or 'the file'}: {message}).",
            f"Make it again with {command}.",
        ) from error
