"""The layer-support check: which targets' own parsers take a model, before any work is done on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantkit.core.progress import Progress, silent
from quantkit.graph.model_file import external_files_of, read_graph
from quantkit.targets.base import Target
from quantkit.targets.parsing import Parsing


def check_model(path: Path, targets: Sequence[Target], progress: Progress = silent) -> dict[str, list[Parsing]]:
    """Let each target's own parsers read a model as it stands.

    Args:
        path: The user's ONNX file, quantized or not.
        targets: The targets.
        progress: Displays the progress.

    Returns:
        What the parsers say, by target.

    Raises:
        BadModel: The file cannot be read as ONNX, or its external data is missing or outside its folder.
    """
    proto = read_graph(path)
    external_files_of(path, proto)
    found = {}
    with progress("parsing", len(targets), "targets") as advance:
        for target in targets:
            found[target.name] = target.parsings(path, proto)
            advance(1)
    return found
