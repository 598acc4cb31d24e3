"""Hints of errors serve callers of both: they name the option and the parameter, or neither."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import quantkit as qk
from quantkit.core import errors

PACKAGE = Path(qk.__file__).parent
KINDS = {name for name in vars(errors) if name[0].isupper()}
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]+|-o\b)")
COMMAND = re.compile(r"(quantkit [a-z]+|trtexec|ray start|pip install)\b.*", re.DOTALL)
PAIR = re.compile(r"\([^()]*\w=[^()]*\)")
# What the command line alone has: shards, charts, and rules made of options.
OF_THE_COMMAND_LINE = {
    "shards.py": {"-o", "--fresh", "--ray"},
    "run_directory.py": {"-o"},
    "report.py": {"--chart"},
    "png.py": {"--chart"},
    "judge.py": {"--max-drop"},
}


def hints_of(file: Path) -> Iterator[str]:
    """Yield the texts that errors are made of, and those that are called a hint."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
            yield from map(_text, node.args)
        elif isinstance(node, ast.Assign) and any("hint" in ast.unparse(target).lower() for target in node.targets):
            yield _text(node.value)


def _text(node: ast.AST) -> str:
    parts = (own.value for own in ast.walk(node) if isinstance(own, ast.Constant) and isinstance(own.value, str))
    return "".join(parts)


def test_an_option_has_its_parameter_beside_it() -> None:
    files = [file for file in PACKAGE.rglob("*.py") if file.relative_to(PACKAGE).parts[0] != "cli"]
    alone = {}
    read = 0
    for file in files:
        for hint in hints_of(file):
            read += 1
            left = {*OPTION.findall(PAIR.sub("", COMMAND.sub("", hint)))} - OF_THE_COMMAND_LINE.get(file.name, set())
            if left:
                alone[f"{file.name}: {hint}"] = left
    assert read > 500
    assert not alone


def test_errors_of_python_name_parameters(model_path: Path, images: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.BadData, match=r"\(--data, data=\)"):
        qk.calibrate(model_path, tmp_path / "nowhere")
    calibration = qk.calibrate(model_path, images)
    with pytest.raises(errors.BadData, match=r"\(--data, data=\)"):
        qk.sensitivity(calibration, tmp_path / "nowhere", target="onnxruntime")
