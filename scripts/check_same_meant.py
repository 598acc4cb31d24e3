"""Differences that are meant between the last commit before the rooms and this one, for check_same.py.

What is added is taken away again before files are compared, so that all the rest of them still has to be equal.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

# (subject, file, reason); the first two are wildcards.
MENDED: tuple[tuple[str, str, str], ...] = (
    ("*", "excluded/manifest.json", "--exclude does not decide what is counted, so the digest leaves it out"),
    ("*", "excluded/report.html", "shows the excluded tensors, too: they are counted"),
    ("*", "excluded/summary.md", "counts the excluded tensors, too"),
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
    if file.parent.name == "excluded":  # all is counted: what BEFORE left out has a range now
        new["tensors"] = {name: own for name, own in new["tensors"].items() if name in old["tensors"]}
        old["warnings"] = new["warnings"] = []


def arrays(old: dict[str, np.ndarray], new: dict[str, np.ndarray], file: Path) -> dict[str, np.ndarray]:
    """AFTER's arrays of the tensors that BEFORE counted, in a run with --exclude."""
    if file.parent.name != "excluded" or "names" not in new:
        return new
    kept = np.isin(new["names"], old["names"])
    rows = np.repeat(kept, new["sizes"]) if "sizes" in new else kept
    found = {name: values[rows if len(values) == len(rows) != len(kept) else kept] for name, values in new.items()}
    return found | {"names": found["names"].astype(old["names"].dtype)}
