"""Functions and classes of the user's, named in a text: ``file.py:name`` or ``package.module:name``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quantkit.core.errors import BadConfig
from quantkit.core.wording import path_meant

HOW = "Write it like package.module:function or file.py:function."


def is_reference(text: str) -> bool:
    """True if the text names something in a file or module, and no built-in or installed thing."""
    place, separator, name = text.rpartition(":")
    return bool(separator and place and name.isidentifier())


def load_reference(text: str, kind: str) -> Any:
    """Load what a text names.

    Args:
        text: ``package.module:name`` or ``file.py:name``.
        kind: What errors call it, such as "metric".

    Returns:
        The function or class.

    Raises:
        BadConfig: The text names nothing, or it does not load.
    """
    place, _, name = text.rpartition(":")
    if not is_reference(text):
        raise BadConfig(f"{text!r} names no {kind}.", HOW)
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
        return getattr(module, name)
    except Exception as error:
        meant = path_meant(Path(place), ".py") if isinstance(error, FileNotFoundError) else ""
        hint = f"{meant}Check the file and the name."
        raise BadConfig(f"The {kind} {text!r} does not load ({error}).", hint) from error


def reference_to(function: Callable[..., Any], kind: str) -> str:
    """Return the text that names a function of a module. Raises BadConfig for one that no name leads to."""
    module, name = getattr(function, "__module__", None), getattr(function, "__name__", "")
    if getattr(sys.modules.get(module or ""), name, None) is not function:
        raise BadConfig(
            f"The {kind} {function!r:.60} has no name of its own in a module.", "Define it with def at the top level."
        )
    return f"{module}:{name}"
