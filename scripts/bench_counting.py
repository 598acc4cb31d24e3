"""Measures ways to count activation values into 2048 bins: ns per value on one core, and what each adds to an install.

python scripts/bench_counting.py [--rounds 5] [--json FILE]

All add to a histogram that is there. The libraries count |x| alone; quantkit's kernel and its NumPy fallback count both
signs, and take each channel's minimum, maximum and mean beside it. numba and boost-histogram are measured where they
are installed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import timeit
from collections.abc import Callable, Iterator
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.statistics.histogram import BINS
from quantkit.measure.environment import environment, installed

Array = npt.NDArray[np.float32]
Way = Callable[[Array], Any]
SHAPES = ((1, 96, 112, 112), (1, 960, 7, 7))  # MobileNetV2's largest tensor, and its many small planes
MB = 1e6


def tensors() -> dict[str, Array]:
    """Values as a network has them: a convolution's output, and the same after its ReLU (half of it zeros)."""
    rng = np.random.default_rng(0)
    made = {}
    for shape in SHAPES:
        values = rng.standard_normal(shape, dtype=np.float32)
        label = "x".join(map(str, shape[1:]))
        made[f"gaussian {label}"] = values
        made[f"ReLU {label}"] = np.maximum(values, 0)
    return made


def top(values: Array) -> float:
    """max|x|, which every way is given; taking it is the row "min and max alone"."""
    return float(np.abs(values).max())


def extremes(values: Array, _: float) -> Way:
    """The least that any way has to do: both ends."""
    return lambda x: (x.min(), x.max())


def histogram(values: Array, most: float) -> Way:
    """np.histogram with equal bins."""
    counts = np.zeros(BINS, np.int64)

    def run(x: Array) -> Any:
        counts[:] += np.histogram(np.abs(x), bins=BINS, range=(0, most))[0]
        return counts

    return run


def bincount(values: Array, most: float) -> Way:
    """np.bincount of |x| scaled to integers."""
    counts, scale = np.zeros(BINS + 1, np.int64), np.float32(BINS / most)

    def run(x: Array) -> Any:
        counts[:] += np.bincount((np.abs(x) * scale).astype(np.int32).reshape(-1), minlength=BINS + 1)
        return counts

    return run


def boost(values: Array, most: float) -> Way:
    """boost-histogram with a regular axis."""
    import boost_histogram

    axis = boost_histogram.axis.Regular(BINS, 0, most)
    counts = boost_histogram.Histogram(axis, storage=boost_histogram.storage.Int64())
    return lambda x: counts.fill(np.abs(x).reshape(-1)).values(flow=True)


def numba_loop(values: Array, most: float) -> Way:
    """A plain loop, compiled by numba."""
    import numba

    counts, width = np.zeros(BINS + 1, np.int64), np.float32(most / BINS)

    @numba.njit
    def loop(x, width, counts):  # type: ignore[no-untyped-def]  # numba compiles it for what it is given
        for i in range(x.size):
            counts[int(abs(x[i]) / width)] += 1

    def run(x: Array) -> Any:
        loop(x.reshape(-1), width, counts)
        return counts

    return run


def ours_module() -> Any:
    """The module by its name, whatever the package exports under the same one."""
    return importlib.import_module("quantkit.calibrators.count")


def ours(values: Array, most: float) -> Way:
    """quantkit.calibrators.count, in C or in NumPy."""
    counting = ours_module()
    channels, inner = values.shape[1], values.shape[2] * values.shape[3]
    counter = counting.Counter.empty(most / BINS, channels, 2.0**-20)

    def run(x: Array) -> Any:
        counting.count(x, inner, [(counter, -np.inf, np.inf)])
        return counter

    return run


WAYS: dict[str, tuple[Callable[[Array, float], Way], tuple[str, ...]]] = {  # and the distributions that it needs
    "min and max alone": (extremes, ()),
    "np.histogram": (histogram, ()),
    "np.bincount": (bincount, ()),
    "boost-histogram": (boost, ("boost-histogram",)),
    "numba loop": (numba_loop, ("numba", "llvmlite")),
    "quantkit, NumPy": (ours, ()),
    "quantkit, C": (ours, ()),
}


def usable() -> Iterator[str]:
    """The ways that can run here; says of the others why not."""
    for name, (_, needs) in WAYS.items():
        missing = [package for package in needs if find_spec(package.replace("-", "_")) is None]
        if missing:
            print(f"{name} is left out: pip install {missing[0]}", file=sys.stderr)
        elif name == "quantkit, C" and ours_module().kernel is None:
            print(f"{name} is left out: this quantkit was built without a compiler.", file=sys.stderr)
        else:
            yield name


def nanoseconds(name: str, values: Array, rounds: int) -> float:
    """For one value: the best of ``rounds``, because whatever else runs here only makes it slower."""
    counting = ours_module()
    before = counting.kernel
    if name == "quantkit, NumPy":
        counting.kernel = None
    try:
        run = WAYS[name][0](values, top(values))
        result = run(values)  # numba compiles at the first call
        if isinstance(result, counting.Counter):
            result = result.settle()
        if isinstance(result, np.ndarray) and result.sum() != values.size:
            sys.exit(f"{name} counted {result.sum()} of {values.size} values.")
        timer = timeit.Timer(lambda: run(values))
        number, _ = timer.autorange()
        return min(timer.repeat(rounds, number)) / number / values.size * 1e9
    finally:
        counting.kernel = before


def megabytes(name: str) -> float:
    """Files that this way adds to an install of NumPy, its own dependencies included."""
    if name == "quantkit, C":
        return Path(ours_module().kernel.__file__).stat().st_size / MB
    total = 0
    for package in WAYS[name][1]:
        found = distribution(package)
        paths = [Path(str(found.locate_file(file))) for file in found.files or ()]
        total += sum(path.stat().st_size for path in paths if path.is_file())
    return total / MB


def main() -> None:
    """Measure every way on every tensor and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    data = tensors()
    print(f"| ns per value | {' | '.join(data)} | install, MB |")
    print(f"| --- |{' ---: |' * (len(data) + 1)}")
    rows = []
    for name in usable():
        times = {label: nanoseconds(name, values, arguments.rounds) for label, values in data.items()}
        rows.append({"way": name, "ns_per_value": times, "install_mb": megabytes(name)})
        cells = [f"{time:.2f}" for time in times.values()]
        print(f"| {name} | {' | '.join(cells)} | {megabytes(name):.2f} |", flush=True)
    where = environment().model_dump()
    where["packages"] |= installed(("numba", "llvmlite", "boost-histogram"))
    print(f"\n{where}", file=sys.stderr)
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows, "environment": where}, indent=1))


if __name__ == "__main__":
    main()
