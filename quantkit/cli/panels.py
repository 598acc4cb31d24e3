"""Groups verbs and options by purpose in --help."""

from __future__ import annotations

import re
from typing import Any

START, MAKE, MEASURE, IMPROVE, LOOK = "Start", "Calibrate and export", "Measure and judge", "Improve", "Look into"
VERBS = {
    START: ("init", "demo", "doctor", "run"),
    MAKE: ("check", "calibrate", "merge", "export", "build", "convert"),
    MEASURE: ("compare", "report", "history", "gate"),
    IMPROVE: ("sensitivity", "tune"),
    LOOK: ("inspect", "lint"),
}
OPTIONS = {
    "Data": (
        "--data --eval-data --samples --seed --select --classes --labels --preprocess --size --batch-axis --shard --ray"
    ),
    "Ranges and weights": "--method --percentile --tensors --rounding --exclude --placement",
    "Answers": "--task --task-head --task-output --task-axis --threshold --metric",
    "What is built and measured": (
        "--target --precision --device --batch-size --tensorrt --mode --shape --workspace --sparse --plugin "
        "--optimization-level --compute-capability --hint --threads"
    ),
    "Latency": "--rounds --seconds --streams --end-to-end",
    "Goals and rules": (
        "--gates --baseline --baseline-optional --max-drop --min-speedup --min-agreement --min-sqnr --within "
        "--max-slowdown --budget --require-recommended --init"
    ),
    "Files": (
        "--config --output --to --model --algorithm --junit --chart --embed-preprocessing --no-export --no-thumbnails "
        "--graph --fresh --force --write-only --schema --format"
    ),
    "What is shown": "--json --wide --dump-config --verbose --quiet --help",
}
PANELS = {option: panel for panel, options in OPTIONS.items() for option in options.split()}
PANEL_OF_VERB = {verb: panel for panel, verbs in VERBS.items() for verb in verbs}


def group(command: Any) -> None:
    """Put every option of a verb, which is a click command, into the panel of its purpose.

    Lines of its help are joined, because Rich breaks where the docstring does.
    """
    command.help = "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", command.help or ""))
    for option in command.params:
        named = next((PANELS[name] for name in option.opts if name in PANELS), None)
        if (command.name, option.name) == ("calibrate", "batch_size"):  # of no latency, but of bin widths
            named = "Ranges and weights"
        if named is not None:
            option.rich_help_panel = named
