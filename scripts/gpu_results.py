"""Writes a page of docs/results from what runs on a GPU left: nothing in it is typed by hand.

    python scripts/gpu_results.py OUT [--comparison comparison.json [--report report.html]] [--parity NAME.json ...]
        [--bench bench.json] [--suite junit.xml ...]

The comparison is of `quantkit compare`, the report what the page links beside it, the parity of bench_parity.py, the
bench of bench_gpu.py, the suite pytest's --junitxml of `-m gpu`, or of parts of it that ran side by side (-o
junit_family=xunit1).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from bench_gpu import LEVELS_NOTE, table

from quantkit.core.comparison import Comparison, Row
from quantkit.pipeline.run_files import load_comparison


def main() -> None:
    """Read what there is, write one page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--comparison", type=Path)
    parser.add_argument("--report", default="")
    parser.add_argument("--parity", type=Path, nargs="+", default=[])
    parser.add_argument("--bench", type=Path)
    parser.add_argument("--suite", type=Path, nargs="+", default=[])
    given = parser.parse_args()
    parts = ["# TensorRT on a GPU\n", "Written by `scripts/gpu_results.py`; each part says what it was measured on.\n"]
    if given.suite:
        parts += suite(*given.suite)
    if given.comparison:
        parts += compared(load_comparison(given.comparison), given.report)
    if given.parity:
        parts += parity({path.stem: json.loads(path.read_text(encoding="utf-8")) for path in given.parity})
    if given.bench:
        parts += headline(json.loads(given.bench.read_text(encoding="utf-8")))
    given.out.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def machine(where: Mapping[str, Any]) -> str:
    """An environment in words."""
    packages = ", ".join(f"{name} {version}" for name, version in where["packages"].items())
    return (
        f"Measured {where['measured']} with quantkit {where['quantkit']} on {where['gpu']}; {where['cores']} cores of "
        f"{where['cpu']}, Python {where['python']}, {packages}."
    )


def parity(documents: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What bench_parity.py measured, a table a model."""
    lines = [
        "## INT8 by Q/DQ and by ranges, against FP16\n",
        "p50 in ms of the network alone, by batch size; behind it that over FP16's, timed in turns with it.\n",
    ]
    for name, document in documents.items():
        sizes = list(document["rows"][0]["p50"])
        level = document["level"]
        # Older records do not say it.
        against = document.get("reference", "TensorRT's own FP32")
        how = f"{document['jobs']} engines built at a time, optimization level {3 if level is None else level}"
        lines += [
            f"**{name}**: {machine(document['environment'])} {how}; SQNR against {against}.\n",
            f"| engine | {' | '.join(f'batch {size}' for size in sizes)} | SQNR dB | built in s |",
            f"| --- |{' ---: |' * (len(sizes) + 2)}",
        ]
        for row in document["rows"]:
            times = (f"{row['p50'][size]:.3f} ({row['p50'][size] / row['fp16'][size]:.2f})" for size in sizes)
            sqnr = "–" if row["sqnr"] is None else f"{row['sqnr']:.1f}"
            lines.append(f"| {row['engine']} | {' | '.join(times)} | {sqnr} | {row['built']:.0f} |")
        lines.append("")
    return lines


def suite(*junit: Path) -> list[str]:
    """What `pytest -m gpu` said, and the figures that its tests recorded."""
    parts = [next(ElementTree.parse(path).getroot().iter("testsuite")) for path in junit]
    cases = [case for part in parts for case in part.iter("testcase")]
    counts = {key: sum(int(part.get(key, 0)) for part in parts) for key in ("tests", "failures", "errors", "skipped")}
    seconds = max(float(part.get("time", 0)) for part in parts)
    when = min(part.get("timestamp", "")[:10] for part in parts)
    beside = f" ({len(parts)} parts side by side, each on a GPU of its own)" if len(parts) > 1 else ""
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    lines = [
        "## The GPU suite\n",
        f"`pytest -m gpu`: {passed} passed, {counts['failures'] + counts['errors']} failed, "
        f"{counts['skipped']} skipped in {seconds:.0f} s{beside}, {when}.\n",
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


def compared(comparison: Comparison, report: str = "") -> list[str]:
    """The rows of a comparison, with a link to its report."""
    linked = f" The [whole report]({report})." if report else ""
    lines = [
        f"## {Path(comparison.model).stem}, {comparison.samples} images\n",
        f"{machine(comparison.environment.model_dump(mode='json'))}{linked} p50 is of the network alone, by CUDA "
        "events; as graph: likewise, all kernels launched as one CUDA graph.\n",
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
    main()
