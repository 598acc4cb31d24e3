"""Times an IR as ``quantkit compare`` does and by OpenVINO's benchmark_app, in turns: both should agree within 10 %.

    scripts/check_benchmark_app.py runs/NAME [--pairs 7] [--precision int8 ...] [--hint latency ...]

The run's artifacts for OpenVINO must have been exported. Each pair measures with one and then with the other, every
second pair the other way round; the medians of the pairs' ratios are printed, and the exit status is 1 when one is off
by more than 10 %. benchmark_app is the one beside this Python.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from quantkit.core.artifact import Artifact
from quantkit.measure.environment import environment
from quantkit.targets.openvino import OpenVino, OpenVinoSettings, library

SECONDS = 3
TOLERANCE = 0.10
MEDIAN = re.compile(r"Median:\s+([\d.]+) (us|ms)")
THROUGHPUT = re.compile(r"Throughput:\s+([\d.]+) FPS")


def main() -> None:
    """Measure every precision under every hint, print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--precision", action="append")
    parser.add_argument("--hint", action="append", choices=("latency", "throughput"))
    options = parser.parse_args()
    results = []
    for precision in options.precision or ["fp32", "int8"]:
        path = options.run / "artifacts" / "openvino" / precision / "model.xml"
        if not path.is_file():
            sys.exit(f"{path} is not there. Run: quantkit export {options.run} --target openvino")
        for hint in options.hint or ["latency", "throughput"]:
            results.append(compared(path, precision, hint, options.pairs))
            print(json.dumps(results[-1]), file=sys.stderr)
    print(json.dumps({"environment": environment().model_dump(), "results": results}, indent=1))
    sys.exit(any(abs(result["ratio"] - 1) > TOLERANCE for result in results))


def compared(path: Path, precision: str, hint: str, pairs: int) -> dict[str, Any]:
    """Median milliseconds for latency, inferences per second for throughput; ratio is ours over benchmark_app's."""
    shapes = {
        value.any_name: [1 if dimension.is_dynamic else dimension.get_length() for dimension in value.partial_shape]
        for value in library.core().read_model(str(path)).inputs
    }
    session = OpenVino(OpenVinoSettings(hint=hint)).load(Artifact("openvino", precision, (path,)), "CPU")
    inputs = {name: np.random.default_rng(0).random(shape, dtype=np.float32) for name, shape in shapes.items()}

    def ours() -> float:
        estimate = median(session.times(inputs, 20).latency)
        times = session.times(inputs, max(20, int(SECONDS * 1e3 / estimate)))
        return float(median(times.latency)) if hint == "latency" else 1e3 / times.back_to_back

    def theirs() -> float:
        return by_benchmark_app(path, shapes, hint)

    rounds = []
    for number in range(pairs):
        first, second = (ours, theirs) if number % 2 == 0 else (theirs, ours)
        a, b = first(), second()
        rounds.append((a, b) if number % 2 == 0 else (b, a))
    return {
        "model": str(path),
        "precision": precision,
        "hint": hint,
        "quantkit": round(median(a for a, _ in rounds), 4),
        "benchmark_app": round(median(b for _, b in rounds), 4),
        "ratio": round(median(a / b for a, b in rounds), 4),
        "ratios": [round(a / b, 3) for a, b in rounds],
        "runtime": session.runtime,
    }


def by_benchmark_app(path: Path, shapes: dict[str, list[int]], hint: str) -> float:
    """Its median latency in ms, or its throughput; synchronous for latency, as many requests as it likes otherwise."""
    shape = ",".join(f"{name}{sizes}".replace(" ", "") for name, sizes in shapes.items())
    command = [str(Path(sys.executable).with_name("benchmark_app")), "-m", str(path), "-d", "CPU", "-hint", hint]
    command += ["-api", "sync" if hint == "latency" else "async", "-t", str(SECONDS), "-shape", shape]
    command += ["-infer_precision", "f32"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = (MEDIAN if hint == "latency" else THROUGHPUT).search(done.stdout)
    if done.returncode or found is None:
        sys.exit(f"benchmark_app failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    value = float(found.group(1))
    return value / 1e3 if hint == "latency" and found.group(2) == "us" else value


if __name__ == "__main__":
    main()
