"""Measures calibration as whole processes, wall time and memory: quantkit, its peers, and the bare forward passes.

python scripts/bench_calibration.py model.onnx --data calib.txt --samples 200 --repeats 3 --json bench.json
python scripts/bench_calibration.py model.onnx --data calib.txt --flat 100 600     does memory grow with the images?

Contestants take turns: each round runs every one of them once, in a process of its own. Peers come with
pip install -e '.[bench]'. Linux only. The model is only read.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench_process import MB, QUANTIZABLE, Bench, Contestant

CONTESTANTS = {
    "forward": "the loop alone: FP32 onnxruntime at batch 1, default options, over images decoded before",
    "quantkit": "quantkit calibrate --method entropy --no-export --fresh: every float activation",
    QUANTIZABLE: "the same for the activations that Q/DQ and IR need",
    "onnxruntime-entropy": "create_calibrator's defaults (every float tensor, symmetric=False, 128 bins, 128 quantized "
    "bins), collect_data and compute_data",
    "nncf": "nncf.quantize with its defaults and subset_size = images; nothing saved",
}
NEEDS = {"nncf": ("nncf", "openvino")}
START_UP = 1.5  # seconds that the bars allow beside the forward passes
# This process stays small, and so imports quantkit only at its end: Linux counts what a child was before its exec into
# the child's peak.


def available(names: Sequence[str], bench: Bench) -> list[str]:
    """Those that can run here; says of the others why not."""
    found = []
    for name in names:
        missing = [package for package in NEEDS.get(name, ()) if find_spec(package) is None]
        if missing:
            print(f"{name} is left out, for want of {missing[0]}: pip install -e '.[bench]'", file=sys.stderr)
        elif name == QUANTIZABLE and not bench.has_tensors_option():
            print(f"{name} is left out: this quantkit has no --tensors.", file=sys.stderr)
        else:
            found.append(name)
    return found


def spread(values: Sequence[float], digits: int) -> str:
    """Median, and the extremes when there are several values."""
    if not values:
        return "–"
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def table(contestants: Sequence[Contestant]) -> str:
    """Medians of all rounds as Markdown."""
    lines = [
        "| contestant | images | whole process, s | loop alone, s | peak RSS, MB | model loaded, MB | growth, MB |"
    ]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for c in contestants:
        cells = [spread(c.seconds, 2), spread(c.forward, 2), spread([peak / MB for peak in c.peaks], 0)]
        cells += [f"{c.baseline / MB:.0f}" if c.baseline else "–", "failed" if c.failure else spread(c.growth, 0)]
        lines.append(f"| {c.name} | {c.samples} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ratios(contestants: Sequence[Contestant]) -> list[dict[str, Any]]:
    """The figures that have a bar, from medians, for each way of running quantkit."""
    done = {c.name: c for c in contestants if c.seconds}
    median = {name: statistics.median(c.seconds) for name, c in done.items()}
    found = []
    for name in (n for n in ("quantkit", QUANTIZABLE) if n in done):
        for peer, bar in (
            ("onnxruntime-entropy", "≥ 15 for MobileNetV2 at 224, 200 images; ≥ 5 for ResNet-50 at 224, 64 images"),
            ("nncf", "≥ 1 for MobileNetV2 at 224, 200 images"),
        ):
            if peer in done:
                found.append((name, f"times faster than {peer}", median[peer] / median[name], bar))
        if "forward" in done:
            passes = (median[name] - START_UP) / statistics.median(done["forward"].forward)
            found.append((name, f"(seconds − {START_UP}) / bare forward passes", passes, "≤ 4; ≤ 2.5 for ResNet-50"))
        found.append((name, "growth of memory, MB", statistics.median(done[name].growth), "≤ 300"))
    return [{"contestant": n, "figure": figure, "value": value, "bar": bar} for n, figure, value, bar in found]


def flatness(contestants: Sequence[Contestant]) -> list[dict[str, Any]]:
    """The growth with more images over the growth with fewer."""
    fewer, more = contestants
    if not fewer.growth or not more.growth:
        return []
    ratio = statistics.median(more.growth) / statistics.median(fewer.growth)
    figure = f"growth with {more.samples} images / with {fewer.samples}"
    return [{"contestant": more.name, "figure": figure, "value": ratio, "bar": "0.9 to 1.1"}]


def main() -> None:
    """Measure, print a table and the figures that have a bar; exits 1 when a contestant failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder or text list of images")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer", action="append", choices=list(CONTESTANTS), help="only these; may be repeated")
    parser.add_argument("--flat", nargs=2, type=int, metavar=("FEWER", "MORE"), help="quantkit at two image counts")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model, data = arguments.model.resolve(), arguments.data.resolve()
    with tempfile.TemporaryDirectory(prefix="quantkit-bench-") as folder:
        bench = Bench(Path(folder))
        if arguments.flat:
            contestants = [bench.contestant("quantkit", model, data, samples) for samples in sorted(arguments.flat)]
        else:
            names = available(arguments.peer or list(CONTESTANTS), bench)
            contestants = [bench.contestant(name, model, data, arguments.samples) for name in names]
            if "onnxruntime-entropy" in names:
                print(
                    "onnxruntime-entropy holds every activation of every image: 200 images of MobileNetV2 at 224 "
                    "take about 13 GB.",
                    file=sys.stderr,
                )
        bench.run(contestants, arguments.repeats)
    figures = flatness(contestants) if arguments.flat else ratios(contestants)
    print(
        f"\n{model.stem}, {arguments.repeats} round(s): median (least–most). Growth is peak RSS over the RSS of a fresh"
    )
    print("process that has imported the same and loaded the FP32 model, ready to run.\n")
    print(table(contestants), end="\n\n")
    for name in dict.fromkeys(c.name for c in contestants):
        print(f"- {name}: {CONTESTANTS[name]}")
    print()
    for row in figures:
        print(f"- {row['contestant']}: {row['figure']}: {row['value']:.2f} (bar: {row['bar']})")
    report(arguments, contestants, figures)
    sys.exit(any(c.failure for c in contestants))


def report(arguments: argparse.Namespace, contestants: Sequence[Contestant], figures: list[dict[str, Any]]) -> None:
    """Say where this was measured; write all of it as JSON when asked to."""
    from quantkit.measure.environment import environment

    where = environment().model_dump()
    print(f"\n{where}", file=sys.stderr)
    if arguments.json:
        rows = [
            {
                "contestant": c.name,
                "how": CONTESTANTS[c.name],
                "samples": c.samples,
                "seconds": c.seconds,
                "forward_s": c.forward,
                "peak_rss_bytes": c.peaks,
                "model_loaded_rss_bytes": c.baseline,
                "growth_mb": c.growth,
                "notes": c.notes,
                "failure": c.failure,
            }
            for c in contestants
        ]
        document = {"model": arguments.model.name, "rows": rows, "figures": figures, "environment": where}
        arguments.json.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
