"""The files that settings come from: ``quantkit.toml``, and ``[tool.quantkit]`` of a ``pyproject.toml``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from quantkit.config import CONFIG_FILE, Config, parse_config
from quantkit.core.errors import BadConfig
from quantkit.core.files import normalized
from quantkit.core.reading import LARGEST_TEXT, read_file
from quantkit.core.wording import path_meant

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT_FILE = "pyproject.toml"


def load_config(path: Path) -> Config:
    """Read ``quantkit.toml``, or ``[tool.quantkit]`` of a ``pyproject.toml``.

    Raises:
        BadConfig: The file cannot be read, is not valid TOML, or has a wrong value or an unknown key.
    """
    return _absolute(parse_config(_tables(path), str(path)), path.parent.absolute())


def _tables(path: Path) -> dict[str, Any]:
    """Read the settings of a file, unchecked. Raises BadConfig."""
    try:
        values = tomllib.loads(read_file(path, LARGEST_TEXT, BadConfig, "configuration").decode("utf-8"))
    except RecursionError as error:
        raise BadConfig(f"{path} is nested too deeply.", "docs/configuration.md lists all keys.") from error
    except OSError as error:
        hint = f"{path_meant(path)}Check its path."
        raise BadConfig(f"The configuration {path} cannot be read ({error.strerror}).", hint) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} is not valid TOML ({error}).", "Correct that line.") from error
    if path.name == PROJECT_FILE:
        values = values.get("tool", {}).get("quantkit", {})
    return values


def config_file(folder: Path) -> Path | None:
    """Return a folder's ``quantkit.toml``, else its ``pyproject.toml`` if that has a ``[tool.quantkit]``, else None.

    Raises BadConfig for a ``pyproject.toml`` that cannot be read.
    """
    own, project = folder / CONFIG_FILE, folder / PROJECT_FILE
    if own.exists():
        return own
    return project if project.exists() and _tables(project) else None


def _absolute(config: Config, folder: Path) -> Config:
    model = config.model.model_copy(update={"path": config.model.path and normalized(folder / config.model.path)})
    paths: dict[str, Any] = {
        key: normalized(folder / value)
        for key in ("calibration", "evaluation", "labels", "classes")
        if isinstance(value := getattr(config.data, key), Path)
    }
    text = config.data.text
    if text.tokenizer is not None:
        paths["text"] = text.model_copy(update={"tokenizer": normalized(folder / text.tokenizer)})
    task: dict[str, Any] = {}
    if config.task.characters is not None:
        task["characters"] = normalized(folder / config.task.characters)
    if config.task.metrics:
        task["metrics"] = [str(normalized(folder / text)) if ".py:" in text else text for text in config.task.metrics]
    return config.model_copy(
        update={
            "model": model,
            "data": config.data.model_copy(update=paths),
            "task": config.task.model_copy(update=task),
        }
    )
