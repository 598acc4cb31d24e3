"""TensorRT for RTX's parser, which needs no GPU and takes strongly typed models: what does it say of a file?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantkit.core.errors import TargetRefuses
from quantkit.targets.tensorrt.engine.libraries import RTX
from quantkit.targets.tensorrt.parsers import parse


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
            "Leave the node that it names out (--exclude, exclude=).",
        )
    return tuple(
        f"TensorRT for RTX does not take {file.name}, nor the model itself: {fault}." for file, fault in faults.items()
    )


def _fault(file: Path) -> str:
    """Return what the parser says against a file; empty if it takes it."""
    refusals = parse(RTX, file).refusals
    if not refusals:
        return ""
    first = refusals[0]
    return f"{first.operator} {first.node!r}: {first.reason}" if first.operator else first.reason
