"""INT8 before and after: weights rounded to nearest, the default, tuned under limits of latency, NNCF's own way.

python scripts/bench_tune.py model.onnx --data CALIB --samples 200 --eval-data EVAL [--eval-samples 2000]
                             [--target openvino] [--slowdown 5 --slowdown 10] [--control] [--json FILE]

"nearest" is the default with weights rounded to the nearest integer (calibrate --rounding nearest). Tuning looks at a
part of the evaluation images; all rows are of the rest. Latency is of one image, in interleaved rounds with "nearest",
whose ratio is what counts. --control adds nncf.quantize_with_accuracy_control, on the same images, with a drop of at
most half a point. Progress and what tuning tries go to stderr.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench_common import decibels, parser_of, percent

import quantkit as qk
from quantkit.config import Config
from quantkit.core.comparison import Interval
from quantkit.core.recipe import Recipe
from quantkit.datasets import Stream, open_dataset
from quantkit.measure.disturbance import speedup_interval
from quantkit.measure.environment import environment
from quantkit.measure.latency import Rounds, schedule
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.comparison.evaluate import Evaluation, evaluate
from quantkit.pipeline.comparison.reference import Reference
from quantkit.pipeline.comparison.stage import open_evaluation_data, without_tuned
from quantkit.pipeline.export import calibrated_model, export
from quantkit.targets import Session, targets_named

ROUNDS, SECONDS = 30, 4.0
DROP = 0.005


@dataclass(frozen=True)
class Contestant:
    """One way to quantize, loaded: its name, the session, and the seconds that it took to make."""

    name: str
    session: Session
    seconds: float


def arguments() -> argparse.Namespace:
    """What the user gives."""
    parser = parser_of(__doc__)
    parser.add_argument("--target", default="openvino")
    parser.add_argument("--slowdown", type=float, action="append")
    parser.add_argument("--budget", default="20m")
    parser.add_argument("--control", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Make all contestants, evaluate and time them together, and print a table."""
    given = arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory(prefix="quantkit-bench-") as name:
        rows = measured(given, Path(name))
    print(table(rows))
    if given.json:
        document = {"model": given.model.name, "rows": rows, "environment": environment().model_dump(mode="json")}
        given.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def measured(given: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Quantize in every way, and measure."""
    (target,) = targets_named([given.target])
    runs = {}
    for rounding in ("nearest", "least-squares"):
        start = time.monotonic()
        runs[rounding] = qk.calibrate(
            given.model, given.data, samples=given.samples, rounding=rounding, output=folder / rounding
        )
        seconds = time.monotonic() - start
        print(f"{rounding}: calibrated in {seconds:.1f} s", file=sys.stderr)
    contestants, tuned = [], []
    for name, rounding in (("nearest", "nearest"), ("default", "least-squares")):
        contestants.append(made(name, target, Recipe.of(runs[rounding]), folder))
    for limit in given.slowdown or (5.0, 10.0):
        start = time.monotonic()
        found = qk.tune(
            runs["least-squares"], given.eval_data, target=given.target, max_slowdown=limit, budget=given.budget,
            samples=given.eval_samples, output=folder / f"tuned-{limit:g}",
        )  # fmt: skip
        calibration = qk.load_calibration(found.folder or folder)
        tuned.append(calibration)
        seconds = time.monotonic() - start
        contestants.append(made(f"tuned, at most {limit:g} % slower", target, Recipe.of(calibration), folder, seconds))
    if given.control:
        contestants.append(controlled(given, runs["least-squares"], tuned[0], folder))
    return compared(given, tuned[0], target, contestants, folder)


def made(name: str, target: Any, recipe: Recipe, folder: Path, seconds: float | None = None) -> Contestant:
    """Export and load what a recipe makes."""
    start = time.monotonic()
    own = folder / "artifacts" / str(len(list((folder / "artifacts").glob("*"))))
    (artifact,) = export(recipe, [target], ["int8"], own)
    took = time.monotonic() - start if seconds is None else seconds
    return Contestant(name, target.load(artifact, target.devices()[0]), took)


def controlled(given: argparse.Namespace, calibration: Any, tuned: Any, folder: Path) -> Contestant:
    """NNCF's quantize_with_accuracy_control, judged by the images that quantkit tuned on."""
    import nncf
    import openvino

    from quantkit.core.artifact import Artifact

    model = calibrated_model(calibration)
    shown = open_dataset(given.data, model.inputs, calibration.preprocess, given.samples, 0)
    counted = Stream(shown.dataset, [int(i) for i in shown.indices], model.batch_axes)
    opened, _ = open_evaluation_data(config_of(given, calibration), model)
    kept = {int(i) for i in without_tuned(opened, tuned)[0].indices}
    judged = Stream(opened.dataset, [int(i) for i in opened.indices if int(i) not in kept], model.batch_axes)
    assert opened.dataset.annotations is not None
    labels = opened.dataset.annotations
    pairs = [(batch.resized(1), labels[batch.indices[0]]) for batch in judged.batches(1)]

    def validate(compiled: Any, data: Any) -> tuple[float, list[float]]:
        hits = [float(next(iter(compiled(x).values())).argmax() == label) for x, label in data]
        return float(np.mean(hits)), hits

    network = openvino.Core().read_model(given.model)
    start = time.monotonic()
    found = nncf.quantize_with_accuracy_control(
        network,
        nncf.Dataset([batch.resized(1) for batch in counted.batches(1)]),
        nncf.Dataset(pairs),
        validation_fn=validate,
        max_drop=DROP,
        subset_size=given.samples,
    )
    seconds = time.monotonic() - start
    openvino.save_model(found, folder / "control.xml", compress_to_fp16=False)
    (target,) = targets_named(["openvino"])
    artifact = Artifact("openvino", "int8", (folder / "control.xml", folder / "control.bin"))
    return Contestant("nncf, accuracy control", target.load(artifact, "CPU"), seconds)


def config_of(given: argparse.Namespace, calibration: Any) -> Config:
    """The configuration to evaluate with."""
    return Config().with_values("data", evaluation=given.eval_data.absolute(), eval_samples=given.eval_samples)


def compared(
    given: argparse.Namespace, tuned: Any, target: Any, contestants: list[Contestant], folder: Path
) -> list[dict[str, Any]]:
    """Evaluate and time all, on images that no tuning looked at."""
    model = calibrated_model(tuned)
    opened, task = open_evaluation_data(config_of(given, tuned), model)
    opened, _ = without_tuned(opened, tuned)
    stream = Stream(opened.dataset, [int(i) for i in opened.indices], model.batch_axes)
    recipe = Recipe.of(tuned)
    (exact,) = export(recipe, [target], ["fp32"], folder / "floating")
    floating = Contestant("FP32", target.load(exact, target.devices()[0]), 0.0)
    everyone = [floating, *contestants]
    candidates = [
        Candidate(target, exact, one.session, "CPU", f"{number} {one.name}", recipe, Path())
        for number, one in enumerate(everyone)
    ]
    found = evaluate(candidates, stream, task, reference=Reference.of(model, []))
    rounds = rounds_of(everyone, found)
    base = rounds[1]
    return [
        row(one, found, candidate.key, speedup_interval(own, base), float(np.median(own)))
        for one, candidate, own in zip(everyone, candidates, rounds, strict=True)
    ]


def rounds_of(everyone: list[Contestant], found: Evaluation) -> list[tuple[float, ...]]:
    """The median latency of each in each round, in ms."""
    sessions, inputs = [one.session for one in everyone], found.common.resized(1)
    rounds = Rounds(sessions, inputs, schedule(sessions, inputs, ROUNDS, SECONDS))
    rounds.measure(lambda count: None)
    return [timing.rounds for timing in rounds.timings(1)]


def row(one: Contestant, found: Evaluation, key: str, ratio: Interval | None, p50: float) -> dict[str, Any]:
    """The figures of one contestant."""
    result = found.results[key]
    top1 = result.metrics.get("top1")
    return {
        "tool": one.name,
        "top1": None if top1 is None else [top1.value, top1.low, top1.high],
        "agreement": None if result.agreement is None else result.agreement.value,
        "sqnr_db": found.sqnr_db[key],
        "p50_ms": p50,
        "ratio": None if ratio is None else [ratio.value, ratio.low, ratio.high],
        "seconds": one.seconds,
        "samples": found.samples,
        "executed": one.session.executed_precision,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [
        "| tool | top-1 % [95 %] | agree % | SQNR, dB | p50, ms | over nearest [95 %] | to make, s |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for own in rows:
        top1 = "–" if own["top1"] is None else percent(*own["top1"])
        agreement = "–" if own["agreement"] is None else f"{100 * own['agreement']:.2f}"
        sqnr = decibels(None if own["tool"] == "FP32" else own["sqnr_db"])
        ratio = "–" if own["ratio"] is None else "{:.3f} [{:.3f}, {:.3f}]".format(*own["ratio"])
        seconds = "–" if own["tool"] == "FP32" else f"{own['seconds']:.0f}"
        lines.append(f"| {own['tool']} | {top1} | {agreement} | {sqnr} | {own['p50_ms']:.3f} | {ratio} | {seconds} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
