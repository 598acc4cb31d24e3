"""OpenVINO's INT8 by ONNX Runtime's Q/DQ and by NNCF's placement, both with quantkit's ranges, in one comparison.

    scripts/bench_placements.py model.onnx[:SAMPLES] ... --data calib.txt --eval-data eval.txt [--samples 200]
        [--eval-samples 1000] [--json FILE]

Prints a Markdown table of both placements, and one of what each of NNCF's steps adds: its placement with our ranges
alone, with bias correction, with SmoothQuant where the model is a transformer.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from bench_common import decibels, percent

import quantkit
from quantkit.core.calibration import Calibration
from quantkit.core.comparison import Row
from quantkit.core.recipe import Recipe
from quantkit.datasets import Stream, open_dataset
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import open_model
from quantkit.measure.environment import environment
from quantkit.measure.sqnr import OutputNoise
from quantkit.targets.cpu import saturates_u8s8
from quantkit.targets.openvino import OpenVinoSettings, library
from quantkit.targets.openvino.nncf.attention import has_attention
from quantkit.targets.openvino.nncf.placement import placed_by_nncf

STEP_SAMPLES = 500  # images that the steps are told apart on


def main() -> None:
    """Calibrate, compare both placements, and take NNCF's steps one by one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="ONNX files, each with :N for N calibration samples of its own")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--eval-data", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--eval-samples", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    placements, steps = [], []
    for text in options.models:
        name, _, samples = text.partition(":")
        with tempfile.TemporaryDirectory() as folder:
            calibration = quantkit.calibrate(
                name, options.data, samples=int(samples or options.samples), output=Path(folder) / "run"
            )
            comparison = quantkit.compare(
                calibration,
                options.eval_data,
                targets=["openvino"],
                precisions=["int8"],
                samples=options.eval_samples,
                openvino=OpenVinoSettings(placement=["qdq", "nncf"]),
            )
            placements += [(Path(name).stem, row) for row in comparison.rows]
            steps.append((Path(name).stem, nncf_steps(calibration, options.eval_data)))
    print_tables(placements, steps)
    if options.json:
        document = {
            "environment": environment().model_dump(),
            "placements": [{"model": name, **row.model_dump(exclude={"layers"})} for name, row in placements],
            "steps": [{"model": name, "sqnr_db": found} for name, found in steps],
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n")


def nncf_steps(calibration: Calibration, data: Path) -> dict[str, float]:
    """SQNR in dB of the outputs, over the first images, with each step and those before it."""
    model = open_model(Path(calibration.model.path))
    opened = open_dataset(data, model.inputs, calibration.preprocess, STEP_SAMPLES, 0, None, None)
    batches = [batch.inputs for batch in Stream(opened.dataset, [int(i) for i in opened.indices]).batches(1)]
    shape = {name: list(array.shape) for name, array in batches[0].items()}

    def outputs(converted: Any) -> list[Any]:
        converted.reshape(shape)
        compiled = library.core().compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return [np.array(compiled(batch)[0]) for batch in batches]

    reference = outputs(library.core().read_model(str(model.path)))
    wanted = {"ranges": (False, False), "+ bias correction": (False, True)}
    if has_attention(Graph(model.graph_only.graph)):
        wanted |= {"+ SmoothQuant": (True, True)}
    found = {}
    for name, (smooth, correct) in wanted.items():
        settings = OpenVinoSettings(placement=["nncf"])
        placed, _ = placed_by_nncf(
            model, Recipe.of(calibration), settings, saturates_u8s8(), smooth=smooth, correct_biases=correct
        )
        noise = OutputNoise()
        for expected, got in zip(reference, outputs(placed.model), strict=True):
            noise.update({"output": expected}, {"output": got})
        found[name] = round(noise.sqnr_db or float("inf"), 2)
    return found


def print_tables(placements: list[tuple[str, Row]], steps: list[tuple[str, dict[str, float]]]) -> None:
    """Both, as Markdown."""
    print("| model | made by | top-1 % [95 %] | agree % | SQNR, dB | p50, ms | speed-up | MB |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for name, row in placements:
        top1 = row.metrics.get("top1")
        accuracy = percent(top1.value, top1.low, top1.high) if top1 else "–"
        made = row.variant or row.precision
        print(
            f"| {name} | {made} | {accuracy} | {100 * row.agreement:.2f} | {decibels(row.sqnr_db, 2)} "
            f"| {row.latency_ms.p50:.3g} | {row.speedup:.2f}x | {row.size_bytes / 1e6:.2f} |"
        )
    print("\n| model | NNCF's placement with our ranges and … | SQNR, dB |\n| --- | --- | ---: |")
    for name, found in steps:
        for step, value in found.items():
            print(f"| {name} | {step} | {value:.2f} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
