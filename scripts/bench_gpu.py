"""Measures PyTorch eager FP32 against the FP16 and INT8 engines that quantkit builds, on one GPU, in one run.

python3.10 scripts/bench_gpu.py --out DIR --torch-python python3.12 [--models resnet50 bert] [--gpus 4] [--jobs 8]
                                [--limit 590]

This Python has quantkit and TensorRT, the other what bench_gpu_models.py needs; "env NAME=VALUE python3.12" will do,
too (PYTHONPATH is not handed on). PyTorch is timed first, and in the end every engine, alone on the first GPU. Engines,
each for one batch, are built in between; --gpus spreads them over as many equal GPUs, on which they begin as soon as
their ONNX file is there, and --jobs says how many are built at a time. The builder chooses kernels by timing them, so
that more than one on a GPU can cost some speed; most of its time goes into compiling them on the CPU. Each step is a
process of its own, whose messages lie in DIR/<model>/; a model that fails is named, and the others go on. A second call
with the same DIR uses again what is there (--fresh: nothing). --limit bounds the seconds in all: what is not built in
time is left out, and a second call builds it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from threading import Event
from typing import Any

from bench_gpu_engines import BATCHES, LEVELS, PRECISIONS, read_json, write_json

ORDER = ("efficientnet_b4", "yolov5s", "resnet50", "bert")  # the longest build first
BARS = {"resnet50": 5.5, "bert": 5.6, "yolov5s": 5.5, "efficientnet_b4": 5.8}  # INT8 over PyTorch, batch 1, an A100
MEASURING = 12.0  # seconds kept for measuring a model
SUSPECT = 20.0  # dB: FP16 that is farther from FP32 than this computes something else
EXCEPT = ", ".join(f"{level} for {model}" for model, level in LEVELS.items())
LEVELS_NOTE = f"The builder's optimization level is its default, 3, and {EXCEPT}."
HERE = Path(__file__).resolve().parent


def step(command: list[str], log: Path, seconds: float | None, env: Mapping[str, str] | None = None) -> str:
    """Run a process; what went wrong in a line, empty when nothing did."""
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("w") as file:
            code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, timeout=seconds, env=env).returncode
    except subprocess.TimeoutExpired:
        return f"took more than the {seconds:.0f} s left"
    except OSError as error:
        return f"{command[0]} does not start ({error.strerror})"
    last = (log.read_text(errors="replace").strip().splitlines() or ["no message"])[-1]
    return f"exit code {code}: {last[:400]}" if code else ""


def rows_of(name: str, eager: Mapping[str, Any], engines: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a batch. PyTorch's time is that of its fastest variant; a wrong FP16 engine's does not count."""
    found = []
    for batch in map(str, BATCHES):
        timed = eager.get("batches", {}).get(batch, {})
        how = min(timed, key=lambda variant: timed[variant]["p50"], default="")
        row: dict[str, Any] = {"model": name, "batch": int(batch), "pytorch": timed[how]["p50"] if how else None}
        row["pytorch_variant"] = how
        for precision in PRECISIONS:
            result = engines.get(precision, {}).get(batch, {})
            row[precision] = result.get("compute", {}).get("p50")
            row[f"{precision}_graph"] = result.get("graph", {}).get("p50")
            row[f"{precision}_sqnr_db"] = result.get("sqnr_db", {}).get("fp32")
            row[f"{precision}_qdq_sqnr_db"] = result.get("sqnr_db", {}).get("qdq")
        if row["fp16_sqnr_db"] is not None and row["fp16_sqnr_db"] < SUSPECT:
            row["fp16"] = row["fp16_graph"] = None
        for precision in (*PRECISIONS, *(f"{precision}_graph" for precision in PRECISIONS)):
            row[f"{precision}_speedup"] = ratio(row["pytorch"], row[precision])
        row["int8_over_fp16"] = ratio(row["fp16"], row["int8"])
        row["int8_over_fp16_graph"] = ratio(row["fp16_graph"], row["int8_graph"])
        row["executed_precision"] = engines.get("int8", {}).get(batch, {}).get("executed_precision", "")
        if batch == "1":
            row["bar"] = BARS[name]
            row["bar_met"] = verdict(BARS[name], row["int8_speedup"], row["int8_graph_speedup"])
        found.append(row)
    return found


def ratio(slow: float | None, fast: float | None) -> float | None:
    """How many times faster; None where one was not measured."""
    return slow / fast if slow and fast else None


def verdict(bar: float, speedup: float | None, of_graph: float | None) -> str:
    """True if INT8 is as many times faster than PyTorch as the bar asks, if only launched as a CUDA graph."""
    if speedup is None:
        return "not measured"
    if speedup >= bar:
        return "met"
    return "met as a graph" if of_graph is not None and of_graph >= bar else "missed"


def table(rows: list[dict[str, Any]]) -> str:
    """Medians in milliseconds as Markdown."""

    def cell(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    lines = [
        "| model | batch | PyTorch FP32, ms | FP16, ms | INT8, ms | INT8 × | bar | FP16 graph, ms | INT8 graph, ms "
        "| INT8 graph × | INT8 over FP16 × | of graphs × | FP16 SQNR, dB | INT8 SQNR, dB | INT8 SQNR to Q/DQ, dB "
        "| INT8 engine's layers in |",
        f"| --- {'| ---: ' * 5}| --- {'| ---: ' * 8}| --- |",
    ]
    for row in rows:
        cells = [row["model"], str(row["batch"]), *(cell(row[key], ".3f") for key in ("pytorch", *PRECISIONS))]
        cells += [cell(row["int8_speedup"], ".2f"), f"{row['bar']} {row['bar_met']}" if "bar" in row else ""]
        cells += [cell(row[f"{precision}_graph"], ".3f") for precision in PRECISIONS]
        cells += [cell(row[key], ".2f") for key in ("int8_graph_speedup", "int8_over_fp16", "int8_over_fp16_graph")]
        cells += [cell(row[f"{key}_sqnr_db"], ".1f") for key in (*PRECISIONS, "int8_qdq")] + [row["executed_precision"]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


class Bench:
    """One run: its folder, its clock, and what failed."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.out = arguments, arguments.out.resolve()
        self.end = time.monotonic() + arguments.limit if arguments.limit else None
        self.failures: dict[str, str] = {}
        gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        self.gpus = [gpu for gpu in gpus if gpu] or [str(number) for number in range(arguments.gpus)]
        self.gpus = self.gpus[: arguments.gpus]
        self.slots = [self.gpus[place % len(self.gpus)] for place in range(arguments.jobs or len(self.gpus))]
        self.free: Queue[str] = Queue()  # a GPU for each engine that may be built now
        self.exported = Event()  # every ONNX file that there will be is there

    def left(self, kept: float = 0) -> float | None:
        """Seconds left beside those kept for later; None without a limit."""
        return None if self.end is None else max(self.end - time.monotonic() - kept, 1.0)

    def run(self) -> list[dict[str, Any]]:
        """All steps; results are written after each model."""
        names = sorted(self.arguments.models, key=ORDER.index)
        kept = MEASURING * len(names)
        start = time.monotonic()
        for gpu in self.slots:
            if gpu != self.gpus[0]:
                self.free.put(gpu)
        for name in names if self.arguments.fresh else ():
            (self.out / f"{name}.onnx").unlink(missing_ok=True)
        with ThreadPoolExecutor(1 + len(names) * (1 + len(PRECISIONS) * len(BATCHES))) as pool:
            eager = pool.submit(self._eager, names, kept)
            calibrated = {name: pool.submit(self._calibrate, name, kept) for name in names}
            builds = [
                pool.submit(self._build, name, precision, batch, calibrated[name], kept)
                for batch in BATCHES
                for precision in reversed(PRECISIONS)
                for name in names
            ]
            for step_ in (eager, *calibrated.values(), *builds):
                step_.result()
        print(f"engines: {time.monotonic() - start:.0f} s", flush=True)
        rows: list[dict[str, Any]] = []
        for name in names:
            if any((self.out / name).glob("batch*/*.json")):
                self._child("measure", name, self.gpus[0], 0)
            rows = self._written()
        print(f"measured: {time.monotonic() - start:.0f} s\n", flush=True)
        return rows

    def _eager(self, names: list[str], kept: float) -> None:
        command = [*shlex.split(self.arguments.torch_python), str(HERE / "bench_gpu_models.py"), str(self.out)]
        command += ["--models", *names, *(["--fresh"] if self.arguments.fresh else [])]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        env["CUDA_VISIBLE_DEVICES"] = self.gpus[0]
        start = time.monotonic()
        failure = step(command, self.out / "models.log", self.left(kept), env)
        print(f"PyTorch: {time.monotonic() - start:.0f} s {failure}", flush=True)
        timed = read_json(self.out / "eager.json").get("models", {})
        for name in names:
            if "error" in timed.get(name, {}):
                self.failures[name] = f"PyTorch: {timed[name]['error']}"
            elif failure and name not in timed:
                self.failures[name] = f"PyTorch: {failure}"
        self.exported.set()
        for gpu in self.slots:
            if gpu == self.gpus[0]:
                self.free.put(gpu)

    def _calibrate(self, name: str, kept: float) -> bool:
        """Wait for the model's ONNX file, and calibrate; whether both went well."""
        while not (self.out / f"{name}.onnx").is_file():
            if self.exported.wait(0.5) and not (self.out / f"{name}.onnx").is_file():
                self.failures.setdefault(name, "there is no ONNX file of it")
                return False
        return self._child("calibrate", name, "", kept)

    def _build(self, name: str, precision: str, batch: int, calibrated: Future[bool], kept: float) -> None:
        """Build one engine on the first GPU that is free."""
        if not calibrated.result():
            return
        gpu = self.free.get()
        try:
            self._child(precision, name, gpu, kept, batch)
        finally:
            self.free.put(gpu)

    def _child(self, what: str, name: str, gpu: str, kept: float, batch: int | None = None) -> bool:
        command = [sys.executable, str(HERE / "bench_gpu_engines.py"), what, str(self.out), name]
        title = f"{what}{f' batch {batch}' if batch else ''}"
        command += ["--batch", str(batch)] if batch else []
        command += ["--fresh"] if self.arguments.fresh and what != "measure" else []
        env = {**os.environ, "CUDA_VISIBLE_DEVICES": gpu}
        start = time.monotonic()
        failure = step(command, self.out / name / f"{title.replace(' ', '-')}.log", self.left(kept), env)
        print(f"{title} {name} on GPU {gpu or '-'}: {time.monotonic() - start:.0f} s {failure}", flush=True)
        if failure:
            self.failures[f"{name} {title}"] = failure
        return not failure

    def _written(self) -> list[dict[str, Any]]:
        """The rows so far, of all models that DIR holds; bench_gpu.json is written with all that they come from."""
        eager = read_json(self.out / "eager.json")
        measured = {name: read_json(self.out / name / "measured.json") for name in BARS}
        measured = {name: document for name, document in measured.items() if document}
        for name, document in measured.items():
            for precision, engines in document["engines"].items():
                for batch, engine in engines.items():
                    if "error" in engine:
                        self.failures.setdefault(f"{name} {precision} batch {batch}", engine["error"])
        rows = [
            row
            for name, document in measured.items()
            for row in rows_of(name, eager.get("models", {}).get(name, {}), document["engines"])
        ]
        write_json(
            self.out / "bench_gpu.json",
            {
                "rows": rows,
                "failures": self.failures,
                "gpus": len(self.gpus),
                "pytorch": eager,
                "tensorrt": measured,
            },
        )
        return rows


def main() -> None:
    """Measure, print a table and whether the bars are met; exits 1 when something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--torch-python", default="python3", help="command of the Python that has torch")
    parser.add_argument("--models", nargs="+", choices=list(BARS), default=list(BARS))
    parser.add_argument("--jobs", type=int, help="engines built at a time (default: one on each GPU)")
    parser.add_argument("--gpus", type=int, default=1, help="equal GPUs that builders are spread over")
    parser.add_argument("--limit", type=float, help="seconds in all")
    parser.add_argument("--fresh", action="store_true", help="use nothing that is there")
    arguments = parser.parse_args()
    from quantkit.core.errors import QuantkitError
    from quantkit.targets.tensorrt.engine.libraries import TENSORRT

    try:
        TENSORRT.require()
    except QuantkitError as error:
        sys.exit(str(error))
    bench = Bench(arguments)
    bench.out.mkdir(parents=True, exist_ok=True)
    rows = bench.run()
    print(table(rows), end="\n\n")
    eager = read_json(bench.out / "eager.json").get("environment", {})
    print(f"PyTorch: {eager}")
    for name in arguments.models:
        where = read_json(bench.out / name / "measured.json").get("environment", {})
        if where:
            print(f"TensorRT: {where}")
            break
    print(
        "Times are p50 by CUDA events, copies left out; the graph is a CUDA graph of all kernels; × is PyTorch's time"
    )
    print("over it. SQNR is against onnxruntime's FP32 on the CPU, and against the Q/DQ model there: with random")
    print("weights INT8 is far from FP32, a right engine still near its Q/DQ model.")
    print(LEVELS_NOTE)
    for name, failure in bench.failures.items():
        print(f"{name} failed: {failure}", file=sys.stderr)
    sys.exit(bool(bench.failures))


if __name__ == "__main__":
    main()
