"""Writes docs/man/quantkit.1 from the help of every verb.

    python scripts/make_man.py [--check]

With --check nothing is written: exit code 1 if the page is not what the help says.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from quantkit.cli.app import app, command
from quantkit.cli.panels import VERBS
from quantkit.version import __version__

PAGE = Path(__file__).resolve().parents[1] / "docs" / "man" / "quantkit.1"
ENDINGS = {
    0: "Done; of gate and run: it may ship.",
    1: "A rule of the gate failed, a goal of tuning is not met, or lint or check found an error.",
    2: "The command, the configuration or a file is wrong.",
    3: "A target does not work on this machine, memory ran out, or quantkit failed.",
    5: "A rule of the gate matched nothing, or there is none.",
    130: "Interrupted (143: by SIGTERM).",
}


def page() -> str:
    """Return the page."""
    built = command()
    lines = [
        f'.TH QUANTKIT 1 "" "quantkit {__version__}" "User Commands"',
        ".SH NAME",
        "quantkit \\- INT8 calibration and quantization of ONNX models",
        ".SH SYNOPSIS",
        ".B quantkit",
        "\\fICOMMAND\\fR [\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]",
        ".SH DESCRIPTION",
        _roff(app.info.help or ""),
        ".SH COMMANDS",
    ]
    for purpose, verbs in VERBS.items():
        lines.append(f".SS {purpose}")
        for verb in verbs:
            lines += [".TP", f"\\fB{verb}\\fR", _roff(_paragraphs(built.commands[verb])[0])]
    for verbs in VERBS.values():
        for verb in verbs:
            lines += _section(verb, built.commands[verb])
    lines.append(".SH EXIT STATUS")
    for code, meaning in ENDINGS.items():
        lines += [".TP", f"\\fB{code}\\fR", meaning]
    lines += [
        ".SH FILES",
        ".TP",
        "\\fIquantkit.toml\\fR",
        "The settings of this folder; quantkit init writes one.",
    ]
    return "\n".join(lines) + "\n"


def _section(verb: str, own: Any) -> list[str]:
    arguments = [p for p in own.params if p.param_type_name == "argument"]
    shown = " ".join(_argument(one) for one in arguments)
    lines = [
        f".SH QUANTKIT {verb.upper()}",
        f"\\fBquantkit {verb}\\fR [\\fIOPTIONS\\fR] {_roff(shown)}".rstrip(),
        ".PP",
    ]
    lines.append("\n.PP\n".join(map(_roff, _paragraphs(own))))
    for one in own.params:
        if one.param_type_name == "argument":
            lines += [".TP", f"\\fI{_roff(_argument(one))}\\fR", _roff(one.help or "")]
        else:
            names = ", ".join([*one.opts, *one.secondary_opts])
            value = "" if one.is_flag or one.count else f" \\fI{one.opts[-1].strip('-').replace('-', '_').upper()}\\fR"
            lines += [".TP", f"\\fB{_roff(names)}\\fR{value}", _roff(one.help or "")]
    return lines


def _argument(one: Any) -> str:
    name = one.metavar or one.name.upper()
    return name if one.required or name.startswith("[") else f"[{name}]"


def _paragraphs(own: Any) -> list[str]:
    text = (own.help or "").replace("\f", "").strip()
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]


def _roff(text: str) -> str:
    """Return text without Rich's escapes, in which nothing is a command of roff."""
    plain = text.replace("\\[", "[").replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", plain, flags=re.MULTILINE)


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(int(not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page()))
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
