"""The base class of a run's JSON files: frozen, typed, no unknown keys."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from quantkit.core.errors import BadRun
from quantkit.core.reading import LARGEST_JSON, read_file

LARGEST_NUMBER = 1e40  # beyond float32, and far beyond any figure


class Record(BaseModel):
    """A JSON object in a file of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    def __str__(self) -> str:
        """Print what ``repr`` shows: pydantic's own text has every field of every part."""
        return repr(self)


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
        text = read_file(path, LARGEST_JSON, BadRun, "file").decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRun(f"{path} is not readable.", f"Make it with {command}.") from error
    try:
        record = kind.model_validate_json(text)
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
    place = _far_number(record.model_dump(), ())
    if place is not None:
        what = f"{path} is damaged ({'.'.join(place)}: a number beyond {LARGEST_NUMBER:g})."
        raise BadRun(what, f"Make it again with {command}.")
    return record


def _far_number(value: Any, place: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the place of the first number that arithmetic would overflow with; None without one."""
    if isinstance(value, (int, float)):
        return place if abs(value) > LARGEST_NUMBER else None
    if isinstance(value, dict):
        inner: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, (list, tuple)):
        inner = enumerate(value)
    else:
        return None
    return next((found for key, one in inner if (found := _far_number(one, (*place, str(key)))) is not None), None)
