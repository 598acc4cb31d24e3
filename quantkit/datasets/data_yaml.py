"""Reads the ``data.yaml`` of a YOLO data set: the few keys that such files have, and no other YAML.

Format: https://docs.ultralytics.com/datasets/detect/. A whole YAML parser is not among quantkit's dependencies.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from quantkit.core.errors import BadData
from quantkit.datasets.annotated import read_text

KEY = re.compile(r"(?P<key>[A-Za-z_]\w*)\s*:(?:\s+(?P<value>.*))?$")
ITEM = re.compile(r"-\s+(?P<value>.*)$")
NUMBERED = re.compile(r"(?P<key>\d+)\s*:\s+(?P<value>.*)$")
SPLITS = ("val", "valid", "test", "train")  # in the order in which one is chosen
HINT = (
    "Write names as a list or by number (0: person), and path, train, val and test as one folder each; anything else "
    "can be left out."
)


@dataclass(frozen=True)
class DataYaml:
    """The contents of a ``data.yaml``.

    Attributes:
        names: The class names, in order.
        root: The folder that the splits are relative to.
        splits: The folder of each split, as the file names it.
    """

    names: tuple[str, ...]
    root: Path
    splits: dict[str, str]


def read_data_yaml(path: Path) -> DataYaml:
    """Read a ``data.yaml``. Raises BadData if it has no names, or is written in a way that is not understood."""
    entries = _entries(path)
    if "names" not in entries:
        raise BadData(f"{path} has no names of classes.", HINT)
    names = _names(entries["names"], path)
    texts = {key: _scalar(entries[key][0]) for key in ("path", *SPLITS) if key in entries and entries[key][0]}
    root = path.parent / texts.pop("path", "")
    return DataYaml(names, root if root.is_dir() else path.parent, texts)


def _entries(path: Path) -> dict[str, list[str]]:
    """Return the text after each key, followed by the indented lines and list items below it."""
    found: dict[str, list[str]] = {}
    key = ""
    for line in read_text(path, "data file").splitlines():
        text = _without_comment(line).rstrip()
        if not text.strip() or text in ("---", "..."):
            continue
        match = KEY.match(text)
        if match:
            key = match["key"]
            if key in found:
                raise BadData(f"{path} has the key {key!r} twice.", "Keep one.")
            found[key] = [(match["value"] or "").strip()]
        elif key:
            found[key].append(text.strip())
        else:
            raise BadData(f"{path} has a line that is not understood: {text[:60]!r}.", HINT)
    return found


def _names(lines: list[str], path: Path) -> tuple[str, ...]:
    inline = " ".join(lines).strip()
    if inline[:1] in ("[", "{"):
        return _inline_names(inline, path)
    listed = [match["value"] for line in lines[1:] if (match := ITEM.match(line))]
    numbered = [match for line in lines[1:] if (match := NUMBERED.match(line))]
    if lines[0] or len(lines) == 1 or len(lines) - 1 not in (len(listed), len(numbered)):
        raise BadData(f"The names in {path} are not understood.", HINT)
    if listed:
        return tuple(map(_scalar, listed))
    return _by_number({int(match["key"]): _scalar(match["value"]) for match in numbered}, path)


def _inline_names(text: str, path: Path) -> tuple[str, ...]:
    """Read ['a', 'b'], [a, b] or {0: a, 1: b}."""
    if text[-1] not in "]}" or (text[0] == "[") != (text[-1] == "]"):
        raise BadData(f"The names in {path} are not understood.", HINT)
    try:
        literal = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        parts = [part.strip() for part in text[1:-1].split(",") if part.strip()]
        if text[0] == "[":
            return tuple(map(_scalar, parts))
        pairs = [NUMBERED.match(part) for part in parts]
        if not all(pairs):
            raise BadData(f"The names in {path} are not understood.", HINT) from None
        literal = {int(pair["key"]): _scalar(pair["value"]) for pair in pairs if pair}
    if isinstance(literal, list):
        return tuple(map(str, literal))
    if not isinstance(literal, dict) or not all(isinstance(key, int) for key in literal):
        raise BadData(f"The names in {path} are not understood.", HINT)
    return _by_number({key: str(value) for key, value in literal.items()}, path)


def _by_number(names: dict[int, str], path: Path) -> tuple[str, ...]:
    if sorted(names) != list(range(len(names))):
        raise BadData(f"The names in {path} are not numbered from 0 without a gap.", "Number them 0, 1, 2 …")
    return tuple(names[number] for number in range(len(names)))


def _without_comment(line: str) -> str:
    """Cut off a comment: a # at the start or behind a space, outside quotes."""
    quote = ""
    for place, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and (not place or line[place - 1] in " [{,:"):
            quote = character
        elif character == "#" and (not place or line[place - 1] in " \t"):
            return line[:place]
    return line


def _scalar(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text
