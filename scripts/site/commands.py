"""The page of all commands, made of what ``--help`` says."""

from __future__ import annotations

import re
from typing import Any


def commands_page() -> str:
    """Return every verb with its arguments, options and defaults, as Markdown."""
    import typer

    from quantkit.cli.app import app

    group = typer.main.get_command(app)
    parts = [
        "# Commands",
        "The same as `quantkit VERB --help`. Results go to stdout, the rest to stderr; "
        "[exit codes](../configuration.md) are the same for all.",
    ]
    for name, command in group.commands.items():
        if not command.hidden:
            parts += [f"## quantkit {name}", _plain(command.help or ""), _table(command)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(command: Any) -> str:
    rows = []
    for param in command.params:
        if getattr(param, "hidden", False):
            continue
        names = " ".join(f"`{name}`" for name in [*param.opts, *param.secondary_opts])
        if param.param_type_name == "argument":
            names = f"`{param.metavar or param.name.upper()}`"
        rows.append(f"| {names} | {_plain(getattr(param, 'help', None) or '').replace('|', chr(92) + '|')} |")
    return "\n".join(["| argument or option | |", "| --- | --- |", *rows]) if rows else ""


def _plain(text: str) -> str:
    """Return help without its terminal markup, in one paragraph where it had line breaks."""
    text = re.sub(r"\[/?(?:bold|dim|italic|cyan|green|red)[^\]]*\]", "", text).replace("\\[", "[")
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text.replace("\b", "")).strip().replace("<", "&lt;")
