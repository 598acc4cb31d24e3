"""Asks a TensorRT package's ONNX parser what it refuses of a file: all of it, not the first.

The parser runs in a process of its own, because some models that it does not support end its process.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantkit.targets.tensorrt.engine.libraries import Library

SECONDS = 300
LONGEST = 300  # characters of a reason
MARK = "quantkit: "  # before each line of ours: TensorRT writes to stdout, too


@dataclass(frozen=True)
class Refusal:
    """One error of the parser.

    Attributes:
        operator: The node's operator, without its domain; empty if it is not a node that is refused.
        node: The node's name, which may be empty.
        reason: What the parser says.
        index: The node's position in the graph; negative if it is not known.
    """

    operator: str
    node: str
    reason: str
    index: int = -1


@dataclass(frozen=True)
class Answer:
    """What the parser says of a file.

    Attributes:
        version: The version of the package; empty if its process ended before it said so.
        started: False if the package does not start on this machine.
        refusals: The errors; empty if it takes the file.
    """

    version: str
    started: bool = True
    refusals: tuple[Refusal, ...] = ()


def parse(library: Library, file: Path) -> Answer:
    """Let a library's parser read a file.

    Args:
        library: The library, which is installed.
        file: An ONNX file.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"from {__name__} import main; main()", _module(library), str(file)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer("", refusals=(Refusal("", "", f"its parser did not end within {SECONDS} s"),))
    told = [json.loads(line.removeprefix(MARK)) for line in done.stdout.splitlines() if line.startswith(MARK)]
    version, started, errors = (*told, *[None] * 3)[:3]
    if not started:
        return Answer(version or "", started=False)
    if errors is None:
        return Answer(version, refusals=(Refusal("", "", f"its parser ended with exit status {done.returncode}"),))
    return Answer(version, refusals=tuple(Refusal(*error) for error in errors))


def _module(library: Library) -> str:
    """Return the first of a library's modules that is installed."""
    return next(name for name in library.modules if importlib.util.find_spec(name) is not None)


def main() -> None:
    """Parse the file named by the second argument with the package named by the first.

    Prints three lines of JSON: the package's version, that it started, and a list of operator, node, reason and index.
    """
    package, file = sys.argv[1:3]
    trt: Any = importlib.import_module(package)
    logger = trt.Logger(trt.Logger.ERROR)
    trt.init_libnvinfer_plugins(logger, "")
    _tell(trt.__version__)
    creation = trt.NetworkDefinitionCreationFlag
    flags = 1 << int(creation.EXPLICIT_BATCH) if hasattr(creation, "EXPLICIT_BATCH") else 0  # the only kind since 10
    builder = trt.Builder(logger)
    _tell(True)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    errors = []
    if not parser.parse_from_file(file):
        for number in range(parser.num_errors):
            error = parser.get_error(number)
            # Before TensorRT 10 an error knows the number of its node alone.
            operator, node = (str(getattr(error, name, str)()) for name in ("node_operator", "node_name"))
            errors.append((operator, node, " ".join(error.desc().split())[:LONGEST], int(error.node())))
        errors = errors or [("", "", "it gives no reason", -1)]
    _tell(errors)


def _tell(value: Any) -> None:
    sys.stdout.write(f"\n{MARK}{json.dumps(value)}\n")
    sys.stdout.flush()  # the parser may end the process
