"""The gate's result as GitHub workflow commands, which GitHub shows as annotations.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from quantkit.gates import GateResult
from quantkit.reports.wording import measured, subject, worst_first

COMMANDS = {
    "fail": "error",
    "no match": "error",
    "warn": "warning",
    "inconclusive": "notice",
    "not comparable": "warning",
}


def github_annotations(gate: GateResult) -> list[str]:
    """Return a command for each rule and row that did not pass, worst first."""
    lines = []
    for verdict in worst_first(gate):
        command = COMMANDS.get(verdict.outcome)
        if command is None:
            continue
        if verdict.outcome == "not comparable" and verdict.rule.strict:
            command = "error"
        told = [f"measured {measured(verdict)}"] if verdict.value is not None else []
        told += [verdict.reason] if verdict.reason else []
        text = f"{subject(verdict)}: {verdict.outcome}, asked {verdict.rule.describe()}; {'; '.join(told)}".rstrip("; ")
        lines.append(annotation(command, f"quantkit gate: {verdict.rule.metric}", text))
    return lines


def annotation(command: str, title: str, text: str, file: str = "") -> str:
    """Return the command that annotates a run, or a file of the repository: ``error``, ``warning`` or ``notice``."""
    place = f"file={_property(file)}," if file else ""
    return f"::{command} {place}title={_property(title)}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
