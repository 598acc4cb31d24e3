"""Checks that every TensorRT name which quantkit uses exists in the Python bindings of TensorRT 10 and 11, and for RTX.

python scripts/check_tensorrt_api.py [--wheel FILE ...]

Nothing of TensorRT is run or imported: the bindings' wheels are read as files (downloaded with pip unless given), and
the names come from the adapter's own source. The bindings are one binary, so that this is all there is to see:

- A name is there if the binary holds its bytes with a zero behind them, or a Python file of the bindings the word. The
  linker lets a string share the end of a longer one, so that no zero need precede. So a short name may pass because it
  ends another one, and the class or enumeration that it belongs to is not seen. What is missing is missing for certain.
- An attribute counts as TensorRT's when it is read from ``trt`` or something assigned from it, or is one that neither
  quantkit's own classes nor Python's and numpy's types have. So ``tensor.name`` and ``tensor.shape`` are not checked.
- A name behind ``hasattr(..., "NAME")`` may be missing. implicit.py holds what TensorRT 11 removed, progress.py what 10
  added: bindings of other releases are not asked for theirs. With ``--wheel``, those of 8.6 can be checked, too.
- TensorRT for RTX has TensorRT 11's names, and those in capabilities.py, which no other has.

Exits 1 with the names that are missing.
"""

from __future__ import annotations

import argparse
import ast
import logging
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
ADAPTER = ROOT / "quantkit" / "targets" / "tensorrt" / "engine"
FILES = (
    "libraries.py", "network.py", "builder.py", "session.py", "lanes.py", "plugins.py", "progress.py", "implicit.py",
    "capabilities.py",
)  # fmt: skip
REMOVED_IN_11 = ("implicit.py",)
ADDED_IN_10 = ("progress.py",)
FOR_RTX = ("capabilities.py",)
BINDINGS = ("tensorrt_cu12_bindings==10.16.*", "tensorrt_cu13_bindings==11.4.*", "tensorrt_rtx_cu13_bindings==1.7.*")
PYTHON = (str, bytes, int, float, list, tuple, dict, set, type, Path, re.Pattern, Exception, OSError, np.ndarray)
PYTHON_NAMES = {name for kind in (*PYTHON, logging.Logger, os.stat_result) for name in dir(kind)}


@dataclass
class Used:
    """The TensorRT names of one file. Those ``guarded`` by hasattr may be missing."""

    names: set[str] = field(default_factory=set)
    guarded: set[str] = field(default_factory=set)


def used_names(file: Path) -> Used:
    """The TensorRT names that one file of the adapter uses."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    used = Used()
    imported = _imported(tree)
    own = _defined(tree).union(*(_defined(ast.parse(path.read_text(encoding="utf-8"))) for path in _modules(tree)))
    tensorrt = _assigned_from_tensorrt(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root = _root(node)
            if _is_tensorrt(node.value, tensorrt) or (
                root not in imported and node.attr not in own and node.attr not in PYTHON_NAMES
            ):
                used.names.add(node.attr)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "hasattr":
            name = node.args[1]
            assert isinstance(name, ast.Constant)
            used.guarded.add(str(name.value))
        elif isinstance(node, ast.ClassDef) and any(_is_tensorrt(base, tensorrt) for base in node.bases):
            used.names |= _overridden(node, tree)
    used.names = (used.names | used.guarded) - set(dir(object))
    return used


def files_for(major: int, rtx: bool = False) -> tuple[str, ...]:
    """The files that are used with this release, or with TensorRT for RTX."""
    if rtx:
        left_out = REMOVED_IN_11
    else:
        left_out = FOR_RTX + (REMOVED_IN_11 if major >= 11 else ()) + (ADDED_IN_10 if major < 10 else ())
    return tuple(file for file in FILES if file not in left_out)


def missing_names(wheel: Path, files: tuple[str, ...]) -> dict[str, list[str]]:
    """By file, the names that the wheel's bindings lack and that nothing guards."""
    with zipfile.ZipFile(wheel) as archive:
        python = b"\n".join(archive.read(name) for name in archive.namelist() if name.endswith(".py"))
        words = set(re.findall(r"\w+", python.decode()))
        binary = b"".join(archive.read(name) for name in archive.namelist() if name.endswith((".so", ".pyd")))
    found = {}
    for file in files:
        used = used_names(ADAPTER / file)
        lacking = {name for name in used.names if name not in words and name.encode() + b"\0" not in binary}
        found[file] = sorted(lacking - used.guarded)
    return found


def _is_tensorrt(node: ast.expr, tensorrt: set[str]) -> bool:
    """True if an expression is ``trt`` or ``library.tensorrt()``, or an attribute, an item or a result of those."""
    while not isinstance(node, ast.Name):
        if ast.unparse(node) in ("library.tensorrt()", "tensorrt()"):
            return True
        if isinstance(node, (ast.Attribute, ast.Subscript)):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return False
    return node.id in tensorrt


def _assigned_from_tensorrt(tree: ast.Module) -> set[str]:
    """The names of TensorRT's package, and of what is assigned from it."""
    names = {"trt"}
    before = -1
    while before != len(names):
        before = len(names)
        names |= {target for target, value in _assignments(tree) if _is_tensorrt(value, names)}
    return names


def _assignments(tree: ast.Module) -> list[tuple[str, ast.expr]]:
    """Every ``name = expression``."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.append((node.targets[0].id, node.value))
    return found


def _root(node: ast.expr) -> str:
    """The name that a chain of attributes, calls and subscripts starts from; empty for another expression."""
    while not isinstance(node, ast.Name):
        if isinstance(node, (ast.Attribute, ast.Subscript)):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return ""
    return node.id


def _imported(tree: ast.Module) -> set[str]:
    """The names of imports other than TensorRT, and of what is assigned from them."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    tensorrt = _assigned_from_tensorrt(tree)
    names -= tensorrt
    before = -1
    while before != len(names):
        before = len(names)
        names |= {target for target, value in _assignments(tree) if _root(value) in names} - tensorrt
    return names


def _modules(tree: ast.Module) -> list[Path]:
    """The files of the quantkit modules that a file imports from."""
    files = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("quantkit."):
            base = ROOT / (node.module or "").replace(".", "/")
            candidates = [base.with_suffix(".py"), *(base / f"{alias.name}.py" for alias in node.names)]
            files += [path for path in candidates if path.is_file()]
    return files


def _defined(tree: ast.Module) -> set[str]:
    """What the classes of a module define: methods, fields, and attributes set on ``self``."""
    names: set[str] = set()
    for owner in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        for node in owner.body:
            if isinstance(node, ast.FunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
        for inner in ast.walk(owner):
            if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store) and _root(inner) == "self":
                names.add(inner.attr)
    return names


def _overridden(owner: ast.ClassDef, tree: ast.Module) -> set[str]:
    """The methods of a class derived from TensorRT's that TensorRT calls: those that the file itself does not."""
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    methods = {node.name for node in owner.body if isinstance(node, ast.FunctionDef)}
    return {name for name in methods if not name.startswith("__")} - called


def _downloaded(folder: Path) -> list[Path]:
    for requirement in BINDINGS:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
        subprocess.run(command, check=True)
    return sorted(folder.glob("*.whl"))


def main() -> int:
    """Check each wheel, print what was found, and return 1 when a name is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--wheel", type=Path, action="append", help="bindings; without it: those of 10.16, 11.4 and RTX 1.7"
    )
    wheels: list[Path] = parser.parse_args().wheel or []
    with tempfile.TemporaryDirectory() as folder:
        failed = False
        for wheel in wheels or _downloaded(Path(folder)):
            package, version, *_ = wheel.name.split("-")
            files = files_for(int(version.split(".")[0]), "rtx" in package)
            missing = missing_names(wheel, files)
            count = len(set().union(*(used_names(ADAPTER / file).names for file in files)))
            lacking = [f"{file}: {', '.join(names)}" for file, names in missing.items() if names]
            print(f"{package} {version}: {count} names of {len(files)} files, {'missing:' if lacking else 'all there'}")
            print("".join(f"  {line}\n" for line in lacking), end="")
            failed = failed or bool(lacking)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
