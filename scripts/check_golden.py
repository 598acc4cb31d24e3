"""Compares quantkit's ranges with the calibration caches that TensorRT 8.6 itself wrote, tensor by tensor.

python scripts/check_golden.py SHARED [--json FILE]

SHARED holds models/, images/ and golden/tensorrt-8.6.0/. Exits 1 when a bar is missed. tests/e2e/test_golden.py asks
the same of the same code.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import quantkit
from quantkit.formats.tensorrt_cache import parse_cache
from quantkit.measure.environment import environment

GOLDEN = "golden/tensorrt-8.6.0"
SAMPLES = 200  # what TensorRT calibrated on: the whole of calibration_images.txt
ROUNDING = 1e-5  # relative; float32 activations of another library differ in their last bits


@dataclass(frozen=True)
class Check:
    """One cache. ``bar`` is the least number of tensors that must agree with it."""

    model: str
    method: str
    cache: str
    bar: int


CHECKS = (
    Check("mobilenet_v2_cifar10", "entropy", "mobilenet_v2_cifar10.entropy2.cache", 99),
    Check("mobilenet_v2_cifar10", "minmax", "mobilenet_v2_cifar10.minmax.cache", 101),
    Check("resnet20_cifar10", "entropy", "resnet20_cifar10.entropy2.cache", 50),
)


@dataclass(frozen=True)
class Mismatch:
    """A tensor of another threshold: amax, and for entropy its bin in our histogram's width."""

    tensor: str
    theirs: float
    ours: float
    their_bin: int | None = None
    our_bin: int | None = None

    def __str__(self) -> str:
        if self.their_bin is None:
            return f"{self.tensor}: TensorRT {self.theirs:.9g}, quantkit {self.ours:.9g}"
        return f"{self.tensor}: TensorRT bin {self.their_bin}, quantkit bin {self.our_bin}"


@dataclass(frozen=True)
class Outcome:
    """``named`` of the ``in_cache`` tensors carry a name of the ONNX file; ``missing`` of these have no range here."""

    check: Check
    in_cache: int
    named: int
    met: int
    missing: tuple[str, ...]
    mismatches: tuple[Mismatch, ...]

    @property
    def passed(self) -> bool:
        """True if every named tensor has a range and enough of them agree."""
        return not self.missing and self.met >= self.check.bar


def compare(check: Check, shared: Path, run: Path) -> Outcome:
    """Calibrate into ``run`` and compare. A second method of the same model is solved from the histograms there."""
    golden = shared / GOLDEN
    calibration = quantkit.calibrate(
        shared / "models" / f"{check.model}.onnx",
        golden / "calibration_images.txt",
        method=check.method,
        samples=SAMPLES,
        output=run,
    )
    _, cache = parse_cache((golden / check.cache).read_text(), check.cache)
    # Tensors that TensorRT's parser made itself have no name in the ONNX file.
    named = [name for name in cache if not name.startswith("(Unnamed")]
    present = [name for name in named if name in calibration.tensors]
    mismatches = []
    for name in present:
        theirs, ours = cache[name], calibration.tensors[name].amax
        if check.method == "minmax":
            if not math.isclose(theirs, ours, rel_tol=ROUNDING):
                mismatches.append(Mismatch(name, theirs, ours))
            continue
        width = calibration.histograms[name].width
        bins = threshold_bin(theirs, width), threshold_bin(ours, width)
        if bins[0] != bins[1]:
            mismatches.append(Mismatch(name, theirs, ours, *bins))
    missing = tuple(name for name in named if name not in calibration.tensors)
    return Outcome(check, len(cache), len(named), len(present) - len(mismatches), missing, tuple(mismatches))


def threshold_bin(amax: float, width: float) -> int:
    """The i of threshold = (i + 0.5) * width."""
    return round(amax / width - 0.5)


def main() -> None:
    """Compare with every cache, print a table and each tensor that differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print("| model | method | tensors in the cache | named in the ONNX | the same | bar | |")
    print("| --- | --- | ---: | ---: | ---: | ---: | --- |")
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for check in CHECKS:
            outcome = compare(check, arguments.shared, Path(folder) / check.model)
            verdict = "pass" if outcome.passed else "FAIL"
            counts = f"{outcome.in_cache} | {outcome.named} | {outcome.met} | {check.bar}"
            print(f"| {check.model} | {check.method} | {counts} | {verdict} |", flush=True)
            outcomes.append(outcome)
    print()
    for outcome in outcomes:
        label = f"{outcome.check.model}, {outcome.check.method}"
        for name in outcome.missing:
            print(f"- {label}: {name}: no range")
        for mismatch in outcome.mismatches:
            print(f"- {label}: {mismatch}")
    if arguments.json:
        rows = [asdict(outcome) | {"passed": outcome.passed} for outcome in outcomes]
        arguments.json.write_text(json.dumps({"rows": rows, "environment": environment().model_dump()}, indent=1))
    sys.exit(not all(outcome.passed for outcome in outcomes))


if __name__ == "__main__":
    main()
