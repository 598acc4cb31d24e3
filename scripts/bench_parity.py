"""TensorRT's INT8 by Q/DQ and by ranges against its FP16, on one GPU: latency by batch size, and SQNR.

    python scripts/bench_parity.py MODEL.onnx --data imgs/calib --eval-data imgs/eval [--name vit] [--out parity]
        [--samples 200] [--eval-samples 200] [--preprocess yolo] [--batches 1 32] [--level 2] [--jobs 4] [--build-only]

FP32, FP16, INT8 by Q/DQ ("explicit") and by ranges ("implicit") are built side by side, each by a process of its own
with its own copy of the run, since most of a build is compiling on the CPU; --jobs 1 builds one after another, which
chooses kernels undisturbed. Then each is timed in turns with FP16, and compared with the model itself in onnxruntime;
of the batch sizes, that with the worst SQNR counts.
Writes OUT/NAME.json and prints rows of a Markdown table. Engines that are there already are used again, so that several
models can be built side by side with --build-only, and then timed one after another.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

import quantkit
from quantkit.core.artifact import Artifact
from quantkit.core.presets import DEFAULT_PRESET
from quantkit.core.record import read_record
from quantkit.datasets import Stream, open_dataset
from quantkit.graph.model_file import open_model
from quantkit.measure.environment import environment
from quantkit.measure.gpu import driver
from quantkit.measure.latency import time_sessions
from quantkit.measure.sqnr import OutputNoise
from quantkit.pipeline.run_files import load_calibration
from quantkit.runtime.reference import ReferenceSession
from quantkit.targets.tensorrt import TensorRT
from quantkit.targets.tensorrt.engine.record import ENGINE_RECORD, EngineRecord

DEVICE = "cuda:0"
# name: precision and mode
ENGINES = {
    "FP32": ("fp32", "auto"),
    "FP16": ("fp16", "auto"),
    "INT8, explicit": ("int8", "explicit"),
    "INT8, implicit": ("int8", "implicit"),
}


@dataclass(frozen=True)
class Measured:
    """One engine: p50 in ms by batch size, that of FP16 in turns with it, SQNR in dB, seconds that its build took.

    The SQNR is against onnxruntime, because an engine in FP32 may answer wrongly, too.
    """

    engine: str
    p50: dict[int, float]
    fp16: dict[int, float]
    sqnr: float | None
    built: float


def engine_of(run: Path, name: str, batches: list[int], level: int | None) -> Artifact:
    """Build one engine in its copy of the run, or find it there."""
    precision, mode = ENGINES[name]
    own = run.with_name(f"{run.name}-{precision}-{mode}")
    if not own.exists():
        shutil.copytree(run, own)
    (engine,) = quantkit.build(
        own, precisions=precision, mode=mode, batch_sizes=batches, optimization_level=level, device=DEVICE
    )
    return engine.artifact


def build(run: Path, name: str, batches: list[int], level: int | None) -> None:
    """Build one engine, in a process of its own."""
    engine_of(run, name, batches, level)


def build_seconds(engine: Artifact) -> float:
    """What its record says of its build."""
    return read_record(EngineRecord, engine.path.with_name(ENGINE_RECORD), "quantkit build").build_seconds


def main() -> None:
    """Calibrate, build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--eval-data", type=Path, required=True)
    parser.add_argument("--name")
    parser.add_argument("--out", type=Path, default=Path("parity"))
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--eval-samples", type=int, default=200)
    parser.add_argument("--preprocess", default=DEFAULT_PRESET)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--level", type=int, help="the builder's optimization level")
    parser.add_argument("--jobs", type=int, default=len(ENGINES))
    parser.add_argument("--build-only", action="store_true")
    options = parser.parse_args()
    name = options.name or options.model.stem
    run = options.out.resolve() / name
    if not (run / "calibration.json").exists():
        quantkit.calibrate(
            options.model, options.data, samples=options.samples, preprocess=options.preprocess, output=run
        )
    built: list[str] = []
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        jobs = {engine: pool.submit(build, run, engine, options.batches, options.level) for engine in ENGINES}
        for engine, job in jobs.items():
            try:
                job.result()
                built.append(engine)
            except quantkit.QuantkitError as error:
                print(f"{engine} was not built: {error}", file=sys.stderr)
    if options.build_only:
        return
    if not {"FP32", "FP16"} <= set(built):
        sys.exit("Without FP32 and FP16 there is nothing to compare with.")
    rows, where = measured(options, run, built)
    how = {"level": options.level, "jobs": options.jobs, "reference": "onnxruntime"}
    record = {"environment": where, **how, "rows": [asdict(row) for row in rows]}
    (options.out / f"{name}.json").write_text(json.dumps(record, indent=1, default=str) + "\n", encoding="utf-8")
    for row in rows:
        times = " | ".join(f"{row.p50[batch]:.3f} ({row.p50[batch] / row.fp16[batch]:.2f})" for batch in row.p50)
        print(f"| {name} | {row.engine} | {times} | {'–' if row.sqnr is None else f'{row.sqnr:.1f}'} |")


def measured(options: argparse.Namespace, run: Path, built: list[str]) -> tuple[list[Measured], dict[str, object]]:
    """Time each engine in turns with FP16, and compare its outputs with the model's. Returns rows, and the machine."""
    calibration, model = load_calibration(run), open_model(options.model)
    target = TensorRT()
    artifacts = {engine: engine_of(run, engine, options.batches, options.level) for engine in built}
    sessions = {engine: target.load(artifact, DEVICE) for engine, artifact in artifacts.items()}
    opened = open_dataset(options.eval_data, model.inputs, calibration.preprocess)
    reference = ReferenceSession(model.source)
    sqnr: dict[str, list[float]] = {engine: [] for engine in sessions}  # of batch sizes with noise
    available = min(options.eval_samples, len(opened.indices))
    if available < max(options.batches):
        sys.exit(f"{available} evaluation samples do not fill a batch of {max(options.batches)}.")
    for size in options.batches:
        count = available // size * size  # an engine takes whole batches
        noise = {engine: OutputNoise() for engine in sessions}
        for batch in Stream(opened.dataset, [int(index) for index in opened.indices[:count]]).batches(size):
            exact = reference.infer(batch.inputs)
            for engine, own in noise.items():
                own.update(exact, sessions[engine].infer(batch.inputs))
        for engine, own in noise.items():
            sqnr[engine] += [] if own.sqnr_db is None else [own.sqnr_db]
    sample = {key: values[:1] for key, values in batch.inputs.items()}
    rows = []
    for engine, session in sessions.items():
        pair = [sessions["FP16"], session]
        p50: list[dict[int, float]] = [{}, {}]
        for size in options.batches:
            inputs = {key: np.repeat(values, size, axis=0) for key, values in sample.items()}
            for times, timing in zip(p50, time_sessions(pair, inputs, size, lambda _: None), strict=True):
                times[size] = timing.latency.p50
        rows.append(Measured(engine, p50[1], p50[0], min(sqnr[engine], default=None), build_seconds(artifacts[engine])))
    where = environment(sessions["FP16"].device_name).model_dump(mode="json")
    return rows, where | {"driver": driver()}


if __name__ == "__main__":
    main()
