"""Reads ranges from any file that has some, by its content and not its name. Nothing in the file is trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Container
from pathlib import Path
from typing import Any

import onnx

from quantkit.core.calibration import CALIBRATION_FILE, Calibration
from quantkit.core.errors import BadData, BadInput
from quantkit.core.record import read_record
from quantkit.core.wording import path_meant
from quantkit.formats.dynamic_ranges import read_ranges
from quantkit.formats.imported import Imported
from quantkit.formats.tensorrt_cache import is_cache, read_cache
from quantkit.formats.tensors_data import is_tensors_data, read_tensors_data
from quantkit.qdq.reader import read_qdq

LARGEST_TEXT = 256 << 20  # bytes; a thousand times the file of a large model
LARGEST_MODEL = 2 << 30  # bytes; the limit of protocol buffers
SNIFFED = 4096  # bytes that are read to distinguish text from a model
CALIBRATION = "quantkit calibration"
KINDS = "a TensorRT calibration cache, name:amax lines, onnxruntime's TensorsData, a quantkit run or a Q/DQ model"
BINARY = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
ORT_TABLE = re.compile(r"\S*[^\s:] -?[0-9.]+(e[+-]?[0-9]+)?")


def range_file(source: Path) -> Path:
    """Return ``source``, or the ``calibration.json`` of a run directory. Raises BadInput if there is no such file."""
    if not source.exists():
        raise BadData(f"There is no file {source}.", f"{path_meant(source)}Give {KINDS}.")
    file = source / CALIBRATION_FILE if source.is_dir() else source
    if not file.is_file():
        problem = f"The folder {source} holds no {CALIBRATION_FILE}." if source.is_dir() else f"{source} is no file."
        raise BadData(problem, f"Give {KINDS}.")
    return file


def read_ranges_of(source: Path, known: Container[str] = ()) -> tuple[Imported, Calibration | None]:
    """Read the ranges of a file or a run.

    Args:
        source: The file, or a run directory.
        known: The names of the original model's tensors, which a Q/DQ model may have changed.

    Returns:
        The ranges; and the calibration if they come from a run, else None.

    Raises:
        BadInput: The file has no ranges, or is damaged; the message says where.
    """
    file = range_file(source)
    name = str(source)
    data = _bytes_of(file)
    if BINARY.search(data, 0, SNIFFED):
        return _read_model(data, file, known), None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadData(f"Line {line} of {source} is not UTF-8.", f"Give {KINDS}.") from error
    if text.lstrip()[:1] in ("{", "["):
        return _read_json(text, file)
    if is_cache(text):
        return read_cache(text, name), None
    first = text.split("\n", 1)[0].rstrip("\r")
    if ORT_TABLE.fullmatch(first):
        raise BadData(
            f"{source} is a table of onnxruntime that holds the upper end of each range only.",
            "Give the calibration.json that was written beside it.",
        )
    if first.strip() and ":" not in first:  # the reader reports a blank line
        raise BadData(f"{source} is neither {KINDS.replace(' or ', ' nor ')}.", "Give one of these.")
    return read_ranges(text, name), None


def _bytes_of(file: Path) -> bytes:
    with file.open("rb") as stream:
        limit = LARGEST_MODEL if BINARY.search(stream.read(SNIFFED)) else LARGEST_TEXT
        stream.seek(0)
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise BadData(f"{file} is larger than {limit >> 20} MB.", f"Give {KINDS}.")
    if not data.strip():
        raise BadData(f"{file} is empty.", f"Give {KINDS}.")
    return data


def _read_model(data: bytes, file: Path, known: Container[str]) -> Imported:
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception as error:
        raise BadData(f"{file} is neither {KINDS.replace(' or ', ' nor ')}.", "Give one of these.") from error
    if not model.graph.node:
        raise BadData(f"{file} is neither {KINDS.replace(' or ', ' nor ')}.", "Give one of these.")
    try:
        return read_qdq(model, str(file), file.parent, known)
    except BadInput:
        raise
    except Exception as error:
        raise BadData(f"The model {file} is damaged ({type(error).__name__}: {error}).", "Export it again.") from error


def _read_json(text: str, file: Path) -> tuple[Imported, Calibration | None]:
    try:
        document = json.loads(text, object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise BadData(f"{file} is damaged JSON ({reason}).", "Write the file again.") from error
    if isinstance(document, dict) and is_tensors_data(document):
        return read_tensors_data(document, str(file)), None
    if not isinstance(document, dict) or "schema_version" not in document or "tensors" not in document:
        raise BadData(f"{file} is JSON, but neither a TensorsData nor a calibration.", f"Give {KINDS}.")
    calibration = read_record(Calibration, file, "quantkit calibrate")
    try:
        ranges = calibration.ranges
    except ValueError as error:
        raise BadData(f"{file} is damaged ({error}).", "Calibrate again.") from error
    if not ranges:
        raise BadData(f"{file} holds no range.", "Calibrate again.")
    return Imported(CALIBRATION, ranges, method=calibration.method, exclude=calibration.exclude), calibration


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values and values[key] != value:
            raise ValueError(f"{key!r} has two different values")
        values[key] = value
    return values
