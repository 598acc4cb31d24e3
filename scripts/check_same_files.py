"""Where two files that quantkit wrote differ first, in words, for check_same.py.

Every file must be equal byte for byte, but for this:

- .npz: the arrays are compared, for an archive holds the time.
- calibration.json, manifest.json and artifact.json: without the keys of IGNORED, times and digests of our own.
- All text: without what NOISE matches (times, temporary folders) and without the path of the side's own folder.
- OpenVINO's .xml: without the numbers in names that OpenVINO makes up, such as Constant_1370. They count all that was
  ever built in the process; they are renumbered as they appear, and only where the bytes differ. A model's own names of
  that form are, too: their numbers are compared in the ONNX files alone.
- What was measured: comparison.json and gate.json have the same key paths and types, report.html, summary.md and
  junit.xml beside them exist, and a verb that measures gives the same exit code.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeAlias

import check_same_meant
import numpy as np
import onnx
from onnx import numpy_helper

KeyPath: TypeAlias = tuple[str, ...]
IGNORED = {
    "calibration.json": {"created", "versions"},
    "manifest.json": {"started", "stamp"},  # stamp: times of change of the samples, which the demo writes anew
    "artifact.json": {"fingerprint"},
}
MEASURED = {"report.html", "summary.md", "junit.xml"}  # where there is a comparison.json
SCHEMAS = {"comparison.json", "gate.json"}
TEXT = {".txt", ".json", ".toml", ".html", ".xml", ".md", ".cache", ".csv"}
NOISE = tuple(
    (re.compile(pattern, re.MULTILINE), mark)
    for pattern, mark in (
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(\+00:00|Z| UTC)?", "<time>"),
        (r"/quantkit-[a-z0-9_]{8}\b", "/<temporary>"),
        (r"^[a-z]+: \d+ (of \d+ )?[a-z]+(, .* left| in [\d.]+ s)\n", ""),  # progress of what takes seconds
    )
)
KINDS = {dict: "object", list: "list", str: "text", bool: "bool", int: "number", float: "number", type(None): "null"}
MADE_UP = re.compile(r"(?<![\w/.])([A-Z][A-Za-z]*)_(\d+)(?!\d)")


def difference(pair: tuple[Path, Path], folders: Sequence[Path]) -> tuple[str | None, list[str]]:
    """Where two files differ first, in words, and the key paths that are new where nothing but a schema counts."""
    old, new = check_same_meant.counterpart(*pair), pair[1]
    if old.name in SCHEMAS:
        return schema_difference(json.loads(old.read_text()), json.loads(new.read_text()))
    if old.name in MEASURED and (old.parent / "comparison.json").exists():
        return None, []
    if old.suffix == ".npz":
        return npz_difference(old, new), []
    contents = [path.read_bytes() for path in (old, new)]
    if contents[0] == contents[1] or check_same_meant.close(old, new):
        return None, []
    if old.suffix == ".onnx":
        return onnx_difference(*map(onnx.load_from_string, contents)), []
    if old.suffix not in TEXT:
        return bytes_difference(*contents, old), []
    texts = [check_same_meant.reworded(quiet(c.decode(), f)) for c, f in zip(contents, folders, strict=True)]
    if old.name in IGNORED:
        documents = [json.loads(text) for text in texts]
        for document in documents:
            for key in IGNORED[old.name]:
                document.pop(key, None)
        check_same_meant.documents(documents[0], documents[1], new)
        return value_difference(*documents), []
    if old.suffix == ".xml" and texts[0] != texts[1]:
        texts = [renumbered(text) for text in texts]
    return text_difference(*texts), []


def quiet(text: str, folder: Path) -> str:
    """Text without the side's folder, times and temporary names."""
    for path in (str(folder), str(folder).replace("_", r"\_")):  # Markdown escapes it
        text = text.replace(path, "<side>")
    for pattern, mark in NOISE:
        text = pattern.sub(mark, text)
    return text


def renumbered(text: str) -> str:
    """The text of an IR, the names that OpenVINO made up numbered as they appear."""
    numbers: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        return numbers.setdefault(found[0], f"{found[1]}_#{len(numbers)}")

    return MADE_UP.sub(name, text)


def text_difference(old: str, new: str) -> str | None:
    """The first line that differs."""
    for number, (a, b) in enumerate(zip_longest(old.splitlines(), new.splitlines()), 1):
        if a != b:
            return f"line {number}: {around(a, b)}"
    return None if old == new else "line ends"


def around(a: str | None, b: str | None) -> str:
    """Two lines, cut to where they differ."""
    if a is None or b is None:
        return f"{shown(a)}, AFTER {shown(b)}"
    start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    cut = max(0, start - 40)
    return f"{shown(a[cut : start + 60])}, AFTER {shown(b[cut : start + 60])}"


def shown(value: Any) -> str:
    """A value, not too long."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def bytes_difference(old: bytes, new: bytes, path: Path) -> str:
    """The first byte that differs; of an IR's weights, the constant that it belongs to."""
    place = next((i for i, (x, y) in enumerate(zip(old, new, strict=False)) if x != y), min(len(old), len(new)))
    owner = ""
    xml = path.with_suffix(".xml")
    if path.suffix == ".bin" and xml.exists():
        for layer in re.finditer(r'<layer [^>]*name="([^"]*)".*?</layer>', xml.read_text(), re.DOTALL):
            data = re.search(r' offset="(\d+)" size="(\d+)"', layer[0])
            if data is not None and int(data[1]) <= place < int(data[1]) + int(data[2]):
                owner = f", in {layer[1]}"
                break
    return f"byte {place} of {len(old)}, AFTER of {len(new)}{owner}"


def npz_difference(old: Path, new: Path) -> str | None:
    """The first array that differs in name, dtype, shape or value."""
    before, after = dict(np.load(old)), dict(np.load(new))
    if list(before) != list(after):
        return f"arrays: {list_difference(list(before), list(after))}"
    for name, values in before.items():
        if (
            values.dtype != after[name].dtype
            or values.shape != after[name].shape
            or values.tobytes() != after[name].tobytes()
        ):
            return f"array {name}: {array_difference(values, after[name])}"
    return None


def array_difference(old: np.ndarray, new: np.ndarray) -> str:
    """How two arrays differ."""
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        return f"{old.dtype}{list(old.shape)}, AFTER {new.dtype}{list(new.shape)}"
    places = np.argwhere(np.atleast_1d(old != new))
    if not len(places):
        return "equal values of other bytes"
    first = tuple(map(int, places[0]))
    values = np.atleast_1d(old)[first], np.atleast_1d(new)[first]
    return f"{len(places)} of {old.size} values, first at {list(first)}: {values[0]}, AFTER {values[1]}"


def list_difference(old: Sequence[str], new: Sequence[str]) -> str:
    """What one list has and the other lacks, or that the order differs."""
    lost, more = (sorted(set(a) - set(b)) for a, b in ((old, new), (new, old)))
    if not lost and not more:
        place = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
        return f"in another order from the {place + 1}th on ({shown(old[place : place + 1])})"
    sides = ((side, names) for side, names in (("BEFORE", lost), ("AFTER", more)) if names)
    return "; ".join(f"only {side} has {', '.join(names[:3])} ({len(names)})" for side, names in sides)


def onnx_difference(old: onnx.ModelProto, new: onnx.ModelProto) -> str:
    """The first node, initializer or property that differs."""
    nodes = [[f"{n.op_type} {n.name or n.output[0]}" for n in model.graph.node] for model in (old, new)]
    if nodes[0] != nodes[1]:
        return f"nodes: {list_difference(*nodes)}"
    for a, b in zip(old.graph.node, new.graph.node, strict=True):
        if a != b:
            lines = difflib.ndiff(str(a).splitlines(), str(b).splitlines())
            return f"node {a.name or a.output[0]}: {shown([line for line in lines if line[0] in '+-'][:4])}"
    names = [[tensor.name for tensor in model.graph.initializer] for model in (old, new)]
    if names[0] != names[1]:
        return f"initializers: {list_difference(*names)}"
    for a, b in zip(old.graph.initializer, new.graph.initializer, strict=True):
        if a != b:
            return f"initializer {a.name}: {array_difference(numpy_helper.to_array(a), numpy_helper.to_array(b))}"
    for kind in ("input", "output", "value_info", "name", "doc_string"):
        if getattr(old.graph, kind) != getattr(new.graph, kind):
            return f"the graph's {kind}"
    for name in old.DESCRIPTOR.fields_by_name:
        own, other = getattr(old, name), getattr(new, name)
        if name != "graph" and own != other:
            return f"{name}: {shown(str(own))}, AFTER {shown(str(other))}"
    return "the order of bytes alone"


def value_difference(old: Any, new: Any, path: str = "") -> str | None:
    """The first key path at which two JSON documents differ; the order of keys counts."""
    if isinstance(old, dict) and isinstance(new, dict):
        if list(old) != list(new):
            return f"{path or 'keys'}: {list_difference(list(old), list(new))}"
        inner = ((f"{path}.{key}".lstrip("."), old[key], new[key]) for key in old)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        inner = ((f"{path}[{i}]", a, b) for i, (a, b) in enumerate(zip(old, new, strict=True)))
    else:
        same = type(old) is type(new) and old == new
        return None if same else f"{path}: {shown(old)}, AFTER {shown(new)}"
    return next((found for place, a, b in inner if (found := value_difference(a, b, place)) is not None), None)


def schema_difference(old: Any, new: Any) -> tuple[str | None, list[str]]:
    """A key path that AFTER lacks or has another type at, and those that it has more.

    null may stand for anything, and a list may be empty: what lies below is missing then, and that is no difference.
    """
    before, after = schema(old), schema(new)
    for path, types in before.items():
        if path not in after:
            above = after.get(path[:-1], {"null"})  # what lacks that, too, is told or excused there
            if "null" in above or (above == {"list"} and path[-1] == "[]"):
                continue
            return f"AFTER has no {spelled(path)}", []
        certain = types - {"null"}, after[path] - {"null"}
        if all(certain) and certain[0] != certain[1]:
            return f"{spelled(path)}: {sorted(types)}, AFTER {sorted(after[path])}", []
    return None, [spelled(path) for path in after if path not in before]


def schema(document: Any, path: KeyPath = ()) -> dict[KeyPath, set[str]]:
    """The JSON types at every key path; the items of a list are taken together, as "[]"."""
    found = {path: {KINDS[type(document)]}}
    items = document.items() if isinstance(document, dict) else ()
    items = [("[]", value) for value in document] if isinstance(document, list) else items
    for key, value in items:
        for inner, types in schema(value, (*path, key)).items():
            found.setdefault(inner, set()).update(types)
    return found


def spelled(path: KeyPath) -> str:
    """A key path as one text."""
    return ".".join(path).replace(".[]", "[]") or "the whole"
