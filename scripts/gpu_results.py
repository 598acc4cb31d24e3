"""Writes docs/results/h200-tensorrt-8.6.md from what one run on a GPU left: nothing in it is typed by hand.

    python scripts/gpu_results.py OUT COMPARISON BENCH JUNIT [JUNIT ...]
    python scripts/gpu_results.py OUT JUNIT

COMPARISON is a comparison.json, BENCH the JSON of bench_gpu.py, JUNIT pytest's --junitxml of the GPU suite, or of parts
of it that ran side by side (-o junit_family=xunit1). With JUNIT alone, the page is of the suite alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bench_gpu import LEVELS_NOTE, table

from quantkit.core.comparison import Comparison, Row
from quantkit.pipeline.run_files import load_comparison


def main(out: Path, comparison: Path, bench: Path, *junit: Path) -> None:
    """Read all of them, write one page."""
    measured = load_comparison(comparison)
    machine = measured.environment
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    parts = [
        "# TensorRT on an H200\n",
        f"Measured {machine.measured} with quantkit {machine.quantkit} on {machine.gpu}; {machine.cores} cores of "
        f"{machine.cpu}, Python {machine.python}, {packages}. "
        "Written by `scripts/gpu_results.py` from that run alone.\n",
        *suite(*junit),
        *resnet(measured),
        *headline(json.loads(bench.read_text(encoding="utf-8"))),
    ]
    out.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def suite_alone(out: Path, junit: Path) -> None:
    """Write a page of what `pytest -m gpu` said."""
    when = next(ElementTree.parse(junit).getroot().iter("testsuite")).get("timestamp", "")[:10]
    parts = ["# The GPU suite on an H200\n", f"Run {when}. Written by `scripts/gpu_results.py`.\n", *suite(junit)]
    out.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def suite(*junit: Path) -> list[str]:
    """What `pytest -m gpu` said, and the figures that its tests recorded."""
    parts = [next(ElementTree.parse(path).getroot().iter("testsuite")) for path in junit]
    cases = [case for part in parts for case in part.iter("testcase")]
    counts = {key: sum(int(part.get(key, 0)) for part in parts) for key in ("tests", "failures", "errors", "skipped")}
    seconds = max(float(part.get("time", 0)) for part in parts)
    beside = f" ({len(parts)} parts side by side, each on a GPU of its own)" if len(parts) > 1 else ""
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    lines = [
        "## The GPU suite\n",
        f"`pytest -m gpu`: {passed} passed, {counts['failures'] + counts['errors']} failed, "
        f"{counts['skipped']} skipped in {seconds:.0f} s{beside}.\n",
        "| figure | measured |",
        "| --- | ---: |",
    ]
    figures = [(p.get("name"), p.get("value")) for case in cases for p in case.iter("property")]
    lines += [f"| {name} | {value} |" for name, value in figures]
    lines += ["", "| test | outcome | s |", "| --- | --- | ---: |"]
    for case in cases:
        bad = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        lines.append(f"| `{case.get('name')}` | {bad} | {float(case.get('time', 0)):.1f} |")
    return [*lines, ""]


def resnet(comparison: Comparison) -> list[str]:
    """The rows of a comparison."""
    lines = [
        f"## {Path(comparison.model).stem}, {comparison.samples} images\n",
        "The [whole report](resnet50-h200.html). p50 is of the network alone, by CUDA events; "
        "as graph: likewise, all kernels launched as one CUDA graph.\n",
        "| precision | batch | top-1 % [95 %] | agree % | SQNR dB | p50 ms | p90 | p99 | with copies | as graph "
        "| per second | speed-up | watt | ran in |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    return [*lines, *(_row(row) for row in comparison.rows if row.target == "tensorrt"), ""]


def _row(row: Row) -> str:
    top1 = row.metrics.get("top1")
    latency, copies, graph = row.latency_ms, row.latency_with_copies_ms, row.latency_graph_ms
    cells = [
        row.precision.upper(),
        str(row.batch),
        f"{100 * top1.value:.2f} [{100 * top1.low:.1f}, {100 * top1.high:.1f}]" if top1 else "–",
        f"{100 * row.agreement:.2f}",
        f"{row.sqnr_db:.1f}" if row.sqnr_db is not None else "–",
        *(f"{value:.3f}" for value in (latency.p50, latency.p90, latency.p99)),
        f"{copies.p50:.3f}" if copies else "–",
        f"{graph.p50:.3f}" if graph else "–",
        f"{row.throughput:,.0f}",
        f"{row.speedup:.2f}x",
        f"{row.gpu.power_w:.0f}" if row.gpu and row.gpu.power_w is not None else "–",
        row.executed_precision,
    ]
    return "| " + " | ".join(cells) + " |"


def headline(bench: dict[str, Any]) -> list[str]:
    """What bench_gpu.py printed."""
    eager = bench["pytorch"].get("environment", {})
    where = ", ".join(f"{name} {value}" for name, value in eager.items())
    return [
        "## Against PyTorch, eager FP32\n",
        "`scripts/bench_gpu.py`: standard architectures with random weights, p50 by CUDA events, copies left out. "
        f"PyTorch's time is that of its fastest variant ({where}). The bars are a public A100 table's. {LEVELS_NOTE}\n",
        table(bench["rows"]),
        "",
    ]


if __name__ == "__main__":
    if len(sys.argv) == 3:
        suite_alone(*map(Path, sys.argv[1:]))
    elif len(sys.argv) < 5:
        sys.exit(__doc__)
    else:
        main(*map(Path, sys.argv[1:]))
