"""What evaluation costs beyond running the models: answers, metrics and noise against bare inference.

python scripts/bench_evaluate.py RUN --data eval/ [--target onnxruntime] [--rounds 5]

RUN is a calibrated run. Bare inference decodes and preprocesses the same images and runs the same sessions on them,
and throws the outputs away. Both take turns; the figures are medians of the rounds. The first round warms up.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from quantkit.core.progress import silent
from quantkit.core.recipe import Recipe
from quantkit.pipeline.comparison.evaluate import evaluate
from quantkit.pipeline.comparison.reference import Reference
from quantkit.pipeline.comparison.stage import FromPython, Prepared, prepare
from quantkit.pipeline.run_directory import ARTIFACTS
from quantkit.pipeline.run_files import load_calibration, run_config


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--target", default="onnxruntime")
    parser.add_argument("--task")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    config = run_config(arguments.run).with_values("data", evaluation=str(arguments.data.absolute()))
    config = config.with_values("compare", targets=[arguments.target], precisions=["fp32", "int8"])
    config = config.with_values("task", name=arguments.task) if arguments.task else config
    recipe = Recipe.of(load_calibration(arguments.run))
    prepared = prepare(config, recipe, arguments.run / ARTIFACTS, silent, FromPython())
    reference = Reference.of(prepared.model, prepared.candidates)
    rounds = []
    for _ in range(arguments.rounds + 1):
        bare = seconds_of(lambda: run_bare(prepared, reference))
        whole = seconds_of(
            lambda: evaluate(
                prepared.candidates, prepared.stream(), prepared.task, (), prepared.step, silent, reference
            )
        )
        rounds.append((bare, whole))
    measured = rounds[1:]
    ratios = sorted(whole / bare for bare, whole in measured)
    print(
        json.dumps(
            {
                "model": prepared.model.source.name,
                "task": prepared.task.name,
                "samples": len(prepared.opened.indices),
                "bare_s": round(statistics.median(bare for bare, _ in measured), 3),
                "evaluation_s": round(statistics.median(whole for _, whole in measured), 3),
                "ratio": round(statistics.median(ratios), 3),
                "least": round(ratios[0], 3),
                "most": round(ratios[-1], 3),
            }
        )
    )


def run_bare(prepared: Prepared, reference: Reference) -> None:
    """Load every sample, and run every session that evaluation runs on it."""
    sessions = {candidate.key: candidate.session for candidate in prepared.candidates}
    sessions.setdefault(reference.key, reference.session)
    for batch in prepared.stream().batches(prepared.step):
        inputs = batch.resized(prepared.step)
        for session in sessions.values():
            session.infer(inputs)


def seconds_of(work: Callable[[], object]) -> float:
    """Return the wall time of some work."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
