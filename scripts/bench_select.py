"""How calibration samples are chosen: does it matter? SQNR of INT8 after random, balanced and diverse choices.

python scripts/bench_select.py model.onnx --data CALIB --eval-data EVAL [--eval-samples 200] [--count 20 --count 50]
                               [--seeds 10] [--preprocess NAME] [--target onnxruntime] [--json FILE]

For each number of images and each seed, the images are chosen from all of CALIB in each way, the model is calibrated on
them, and its INT8 is run on the same held-out images: SQNR of the worst output against FP32 in onnxruntime. "diverse"
chooses from ten times as many random images, so that its choice depends on the seed as well.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from bench_common import parser_of

import quantkit as qk
from quantkit.core.recipe import Recipe
from quantkit.datasets import Stream, open_dataset
from quantkit.graph.model_file import open_model
from quantkit.measure.environment import environment
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.comparison.evaluate import evaluate
from quantkit.pipeline.comparison.reference import Reference
from quantkit.pipeline.export import export
from quantkit.targets import targets_named
from quantkit.tasks.fidelity import Fidelity

WAYS = ("random", "balanced", "diverse")


def main() -> None:
    """Measure every choice, and print a table."""
    parser = parser_of(__doc__)
    parser.add_argument("--count", type=int, action="append")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--preprocess", default="auto")
    parser.add_argument("--target", default="onnxruntime")
    given = parser.parse_args()
    rows = [measured(given, count, way) for count in given.count or (20, 50, 100) for way in WAYS]
    print("| images | choice | SQNR, dB: mean | worst | best | standard deviation |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    for row in rows:
        each = np.array(row["sqnr_db"])
        figures = " | ".join(f"{value:.2f}" for value in (each.mean(), each.min(), each.max(), each.std(ddof=1)))
        print(f"| {row['images']} | {row['choice']} | {figures} |")
    if given.json:
        document = {"model": given.model.name, "rows": rows, "environment": environment().model_dump(mode="json")}
        given.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def measured(given: argparse.Namespace, count: int, way: str) -> dict[str, Any]:
    """Return the SQNR of each seed for one way to choose so many images."""
    found = [sqnr(given, count, way, seed) for seed in range(given.seeds)]
    return {"images": count, "choice": way, "sqnr_db": found}


def sqnr(given: argparse.Namespace, count: int, way: str, seed: int) -> float:
    """Calibrate on one choice, and evaluate."""
    own = {"samples": count, "select": way, "seed": seed, "preprocess": given.preprocess}
    calibration = qk.calibrate(given.model, given.data, **own)
    (target,) = targets_named([given.target])
    model = open_model(given.model)
    opened = open_dataset(given.eval_data, model.inputs, calibration.preprocess, given.eval_samples or 200, 0)
    stream = Stream(opened.dataset, [int(i) for i in opened.indices], model.batch_axes)
    with tempfile.TemporaryDirectory(prefix="quantkit-bench-") as folder:
        recipe = Recipe.of(calibration)
        (artifact,) = export(recipe, [target], ["int8"], Path(folder))
        device = target.devices()[0]
        candidate = Candidate(target, artifact, target.load(artifact, device), device, "", recipe, Path(folder))
        evaluated = evaluate(
            [candidate], stream, Fidelity(), (), model.fixed_batch or 1, reference=Reference.of(model, [])
        )
    return float(evaluated.sqnr_db[candidate.key] or 0.0)


if __name__ == "__main__":
    main()
