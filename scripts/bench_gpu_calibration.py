"""Calibration on the CPU and on a GPU, one after the other: images a second, and how far ranges are apart.

python scripts/bench_gpu_calibration.py MODEL --data imgs/ [--samples 2000] [--cpu-samples 200] [--json FILE]

Seconds are those of a whole calibration in memory, with the model's loading and the ranges' solving. Images a second
are those of the pass: the further images, over 64, by the further time.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

import quantkit
from quantkit.core.calibration import Calibration

FEW = 64


def timed(model: Path, data: Path, samples: int, device: str) -> tuple[float, Calibration]:
    """Calibrate in memory; return the seconds and the calibration."""
    start = time.perf_counter()
    own = quantkit.calibrate(model, data, samples=samples, device=device)
    return time.perf_counter() - start, own


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
    found: dict[str, object] = {"model": arguments.model.name, "cores": len(os.sched_getaffinity(0))}
    made = {}
    timed(arguments.model, arguments.data, FEW, arguments.device)  # warms up
    for device, samples in (("cpu", arguments.cpu_samples), (arguments.device, arguments.samples)):
        few, _ = timed(arguments.model, arguments.data, FEW, device)
        seconds, own = timed(arguments.model, arguments.data, samples, device)
        rate = (own.samples - FEW) / (seconds - few)
        found[device] = {"images": own.samples, "seconds": round(seconds, 2), "images_a_second": round(rate, 1)}
        made[device] = (
            own if device == "cpu" else timed(arguments.model, arguments.data, arguments.cpu_samples, device)[1]
        )
    apart = [abs(made[arguments.device].tensors[n].amax / t.amax - 1) for n, t in made["cpu"].tensors.items()]
    found["ranges_apart"] = {"median": float(np.median(apart)), "most": float(np.max(apart))}
    text = json.dumps(found)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
