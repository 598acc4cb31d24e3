"""Calibration on the CPU and on a GPU, one after the other: images a second, and how far ranges are apart.

python scripts/bench_gpu_calibration.py MODEL --data imgs/ [--samples 2000] [--cpu-samples 200] [--json FILE]

Times are of whole calibrations in memory, from the opened data to the ranges; loading the model is part of them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

import quantkit


def main() -> None:
    """Measure, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--cpu-samples", type=int, default=200)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = {"model": arguments.model.name, "cores": len(os.sched_getaffinity(0))}
    made = {}
    for name, device, samples in (
        ("warm", arguments.device, arguments.cpu_samples),
        ("cpu", "cpu", arguments.cpu_samples),
        ("gpu", arguments.device, arguments.samples),
    ):
        start = time.perf_counter()
        own = quantkit.calibrate(arguments.model, arguments.data, samples=samples, device=device)
        seconds = time.perf_counter() - start
        found[name] = {"images": own.samples, "seconds": round(seconds, 2), "a_second": round(own.samples / seconds, 1)}
        made[name] = own
    apart = [abs(made["warm"].tensors[n].amax / t.amax - 1) for n, t in made["cpu"].tensors.items()]
    found["ranges_apart"] = {"median": float(np.median(apart)), "most": float(np.max(apart))}
    text = json.dumps(found)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
