"""TensorRT for RTX's parser, which needs no GPU and takes strongly typed models: what does it say of a file?

It runs in a process of its own, because it ends its process on some models that it does not support.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from quantkit.core.errors import TargetRefuses
from quantkit.targets.tensorrt.engine.library import RTX

SECONDS = 300


def notes_on(files: Sequence[Path], original: Path) -> tuple[str, ...]:
    """Parse files, if the parser is installed.

    Args:
        files: Strongly typed models.
        original: The model that they were made from.

    Returns:
        A sentence for each that the parser refuses as it refuses the original.

    Raises:
        TargetRefuses: The parser refuses one, although it takes the original.
    """
    if not files or not RTX.is_installed():
        return ()
    faults = {file: fault for file in files if (fault := _fault(file))}
    if faults and not _fault(original):
        file, fault = next(iter(faults.items()))
        raise TargetRefuses(
            f"TensorRT for RTX cannot parse {file.name}, though it parses the model ({fault}).",
            "Leave the node that it names out with --exclude.",
        )
    return tuple(
        f"TensorRT for RTX does not take {file.name}, nor the model itself: {fault}." for file, fault in faults.items()
    )


def _fault(file: Path) -> str:
    """Return what the parser says against a file; empty if it takes it."""
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import main; main()", str(file)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    try:
        return str(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError):
        return f"its parser ended with exit status {done.returncode}"


def main() -> None:
    """Parse the file named by the first argument, and print what is wrong with it as a JSON string."""
    trt = RTX.tensorrt()
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    fault = ""
    if not parser.parse_from_file(sys.argv[1]):
        error = parser.get_error(0)
        words = " ".join(str(error.desc()).split())
        fault = f"{error.node_operator()} {error.node_name()!r}: {words}"[:300]
    sys.stdout.write(json.dumps(fault) + "\n")
