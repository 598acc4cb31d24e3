"""Differences that are meant between the last commit before the rooms and this one, for check_same.py.

What is added is taken away again before files are compared, so that all the rest of them still has to be equal.

A run with --exclude counts everything. So its counts and ranges are held against BEFORE's run without --exclude, to the
bit. They are not those that BEFORE made with --exclude: there onnxruntime fused what nobody asked for, and rounded the
rest otherwise in the last bits. The artifacts made of them must have the same nodes, and values within ROUNDING.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

EXCLUDED = "excluded"  # the folder of the run with --exclude
PLAIN = "run"  # that of the run without
COUNTS = ("histograms.npz", "statistics.npz", "calibration.json")
ROUNDING = 2e-3  # of a float; an 8-bit weight may be another by one step, a bias by as much as that moves a sum

# (subject, file, reason); the first two are wildcards.
MENDED: tuple[tuple[str, str, str], ...] = (
    ("*", "excluded/manifest.json", "--exclude does not decide what is counted, so the digest leaves it out"),
    ("*", "excluded/report.html", "shows the excluded tensors, too: they are counted"),
    ("*", "excluded/summary.md", "counts the excluded tensors, too"),
    ("*", "excluded/artifacts/openvino/*.bin", "last bits of the counts; the .xml is equal"),
    ("inception", "said/*-lint.txt", "quantized-twice: parts of a Split may have ranges of their own"),
    ("opset_21", "said/*-lint.txt", "quantized-twice: parts of a Split may have ranges of their own"),
    ("opset_10", "said/*-api.txt", "BadModel, a BadInput"),
    ("unknown", "said/*-api.txt", "BadModel, a BadInput"),
)
# Of both sides' texts: what is another word or number on purpose.
REWORDED = (
    (re.compile(r'^(\s*)"mend": ', re.MULTILINE), r'\1"hint": '),  # of quantkit lint --json
    (re.compile(r"^\d+( tensors calibrated on .*: excluded)$", re.MULTILINE), r"<all>\1"),
    (re.compile(r'(, |^\s*)"not_finite": \[\](,\n)?', re.MULTILINE), ""),
    (re.compile(r'^\[task\]\nname = "auto"\nmetrics = \[\]\n\n', re.MULTILINE), ""),
    (re.compile(r"^\[targets\]\n\n", re.MULTILINE), ""),
)


def counterpart(old: Path, new: Path) -> Path:
    """What of BEFORE a file of AFTER is held against."""
    parts = new.parts
    if parts[-2] == EXCLUDED and parts[-1] in COUNTS:
        return old.parents[1] / PLAIN / old.name
    return old


def reworded(text: str) -> str:
    """The text with what is meant to differ taken away, or written alike."""
    for pattern, replacement in REWORDED:
        text = pattern.sub(replacement, text)
    if "<all> tensors calibrated" in text:  # warnings speak of the excluded tensors, too
        text = re.sub(r"^Warning: .*\n", "", text, flags=re.MULTILINE)
    return text


def documents(old: Any, new: Any, file: Path) -> None:
    """Take what AFTER alone has, and is meant to have, out of ``calibration.json``."""
    if file.name != "calibration.json":
        return
    if new.get("not_finite") == []:
        del new["not_finite"]
    if file.parent.name == EXCLUDED:
        new["exclude"] = old["exclude"] = []
        new["warnings"] = [warning for warning in new["warnings"] if not warning.startswith("--exclude")]


def close(old: Path, new: Path) -> bool:
    """True for an artifact of the run with --exclude that is the same but for the last bits of its ranges."""
    if EXCLUDED not in new.parts:
        return False
    if new.suffix == ".onnx":
        return _close_models(onnx.load(str(old)), onnx.load(str(new)))
    if new.name == "dynamic_ranges.txt":
        return _close_lines(*([line.rpartition(":") for line in path.read_text().splitlines()] for path in (old, new)))
    if new.suffix == ".cache":
        pairs = [[line.rpartition(": ") for line in path.read_text().splitlines()] for path in (old, new)]
        as_floats = [
            [(name, mark, _of_hex(value)) if mark else (name, mark, value) for name, mark, value in one]
            for one in pairs
        ]
        return _close_lines(*as_floats)
    return False


def _close_models(old: onnx.ModelProto, new: onnx.ModelProto) -> bool:
    alike = [(node.op_type, list(node.input), list(node.output)) for node in old.graph.node] == [
        (node.op_type, list(node.input), list(node.output)) for node in new.graph.node
    ]
    constants = [{t.name: numpy_helper.to_array(t) for t in model.graph.initializer} for model in (old, new)]
    return (
        alike
        and constants[0].keys() == constants[1].keys()
        and all(_close_arrays(constants[0][name], constants[1][name]) for name in constants[0])
    )


def _close_arrays(old: np.ndarray, new: np.ndarray) -> bool:
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        return False
    if old.dtype.kind in "iu":
        most = 1 if old.dtype.itemsize == 1 else ROUNDING * max(1.0, float(np.abs(old.astype(float)).max(initial=0)))
        return bool((np.abs(old.astype(np.int64) - new.astype(np.int64)) <= most).all())
    largest = float(np.abs(old.astype(float)).max(initial=0))
    return bool(np.allclose(old.astype(float), new.astype(float), rtol=ROUNDING, atol=ROUNDING * largest))


def _close_lines(old: list[Any], new: list[Any]) -> bool:
    return len(old) == len(new) and all(
        a[:2] == b[:2] and (a[2] == b[2] or abs(float(a[2]) - float(b[2])) <= ROUNDING * abs(float(a[2])))
        for a, b in zip(old, new, strict=True)
    )


def _of_hex(value: str) -> float:
    return float(np.frombuffer(bytes.fromhex(value), ">f4")[0])
