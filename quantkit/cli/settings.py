"""The effective configuration: options over environment over quantkit.toml over defaults."""

from __future__ import annotations

from pathlib import Path

from quantkit.config import Config, find_config, load_config
from quantkit.core.errors import BadInput
from quantkit.core.files import normalized
from quantkit.core.preprocess import preset


def base_config(file: Path | None) -> Config:
    """The file that -c names, else this folder's quantkit.toml or [tool.quantkit]."""
    return load_config(file) if file is not None else find_config(Path())


def with_preprocess(config: Config, name: str | None) -> Config:
    """The preset in place of the configured preprocessing."""
    return config if name is None else config.model_copy(update={"preprocess": preset(name)})


def with_model(config: Config, model: Path | None) -> Config:
    """The model given, else the configured one, else the only .onnx file here. Raises BadInput."""
    if model is None and config.model.path is not None:
        return config
    if model is None:
        here = sorted(Path().glob("*.onnx"))
        if len(here) != 1:
            found = f"{len(here)} .onnx files are here" if here else "there is no .onnx file here"
            raise BadInput(f"No model is given, and {found}.", "Name one: quantkit calibrate model.onnx --data imgs/")
        model = here[0]
    return config.with_values("model", path=normalized(model))


def absolute(path: Path | None) -> Path | None:
    """A path as the run directory's files should remember it."""
    return None if path is None else normalized(path)
