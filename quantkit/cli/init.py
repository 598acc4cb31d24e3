"""``quantkit init``."""

from __future__ import annotations

import json
import re
from importlib import resources
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Annotated

import typer

from quantkit.cli.options import Force, Json, Quiet, Verbose
from quantkit.version import __version__

DISTRIBUTION = "quantkit-int8"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
TEMPLATE = "quantkit.toml"  # beside this module: every key with its default
_SETTING = re.compile(r"^(\w+) = ")


def init(
    model: Annotated[
        Path | None, typer.Argument(help="The ONNX model; left out: the only .onnx in this folder.", show_default=False)
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="What to calibrate on.")] = None,
    eval_data: Annotated[Path | None, typer.Option("--eval-data", help="What to compare on.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")] = Path("quantkit.toml"),
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of quantkit.toml instead, for editors.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Write a quantkit.toml to begin with: every key with its default and what it means, commented out.

    What it names is read by quantkit run, calibrate and compare in its folder. Paths are relative to the file.
    """
    from quantkit.cli.console import configure, log, print_json, print_raw
    from quantkit.cli.documents import InitDocument
    from quantkit.config import Config
    from quantkit.core.files import write_text
    from quantkit.core.overwriting import check_overwrite

    configure(verbose, quiet)
    if schema:
        print_raw(json.dumps({"$schema": DRAFT, **Config.model_json_schema()}, indent=1))
        return
    check_overwrite(output, None, force)
    folder = output.absolute().parent
    found = model or next(iter(sorted(folder.glob("*.onnx"))), None)
    given = {"path": found, "calibration": data, "evaluation": eval_data}
    text = starter({key: None if path is None else _beside(path, folder) for key, path in given.items()})
    write_text(output, text)
    wanted = {"[model] path": found, "[data] calibration": data, "[data] evaluation": eval_data}
    missing = [name for name, value in wanted.items() if value is None]
    if as_json:
        print_json(InitDocument(config=str(output), missing=tuple(missing)))
        return
    log.info("Wrote %s.", output)
    if missing:
        log.info("Set %s in it, and then: quantkit run", " and ".join(missing))
    else:
        log.info("Next: quantkit run -c %s", output)


def starter(given: dict[str, str | None]) -> str:
    """Return the text of a quantkit.toml in which only what is given is set.

    Args:
        given: The values of ``path``, ``calibration`` and ``evaluation``; None leaves one commented out.
    """
    template = (resources.files("quantkit.cli") / TEMPLATE).read_text(encoding="utf-8")
    lines = [
        *_schema_line(),
        "# Written by quantkit init: every key with its default, commented out. Options go before it.",
        "",
    ]
    for line in template.splitlines():
        key = _SETTING.match(line)
        if line.startswith("[["):
            lines.append(f"# {line}")
        elif key is None:
            lines.append(line)
        elif (value := given.get(key[1])) is not None and key[1] in given:
            comment = line[line.index("#") :] if "#" in line else ""
            lines.append(f"{key[1]} = {_quoted(value)}  {comment}".rstrip())
        else:
            lines.append(f"# {line}")
    return "\n".join(lines) + "\n"


def _schema_line() -> list[str]:
    """Return the line by which editors find the schema of this release; none if the repository is not known."""
    try:
        told = metadata(DISTRIBUTION).get_all("Project-URL") or []
    except PackageNotFoundError:
        return []
    homes = [url for name, url in (line.split(", ", 1) for line in told) if name == "Homepage"]
    return [f"#:schema {home}/raw/v{__version__}/docs/schemas/quantkit.toml.json" for home in homes]


def _quoted(text: str) -> str:
    """Return a TOML string."""
    return json.dumps(text, ensure_ascii=False)


def _beside(path: Path, folder: Path) -> str:
    """Return a path as it is written in a file of ``folder``."""
    whole = path.absolute()
    return whole.relative_to(folder).as_posix() if whole.is_relative_to(folder) else whole.as_posix()
