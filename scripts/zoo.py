"""The zoo: models out of public packages, quantized by quantkit and its peers, each as its user runs it.

python scripts/zoo.py --folder zoo/ --json zoo.json                 all models; one that is in the JSON is not run again
python scripts/zoo.py --folder zoo/ --json zoo.json --only magika   this model anew
python scripts/zoo.py --folder zoo/ --json zoo.json --table         only print the table of what was measured

The packages come from ``pip download``; see zoo_models.py. Every contestant quantizes the same feeds in a process of
its own (zoo_peers.py). What its file makes of other feeds is held against the user's model in onnxruntime: the SQNR of
every output and, where one holds several kinds of values, of each part; the worst counts. Where its outputs are known
to be answers, these are compared, too: F1 of detections at IoU 0.5, equal characters or classes, and shared
neighbours. The
table's time is the CPU time of one sample on one thread, which other processes hardly change; the JSON has p50 of
interleaved rounds with the runtime's own number of threads, too. Linux only.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from zoo_answers import scored
from zoo_models import MODELS, Feed, ZooModel

from quantkit.measure.latency import time_sessions
from quantkit.measure.sqnr import OutputNoise
from quantkit.pipeline.comparison.reference import kinds

PEERS = Path(__file__).with_name("zoo_peers.py")
CALIBRATION, HELD_OUT = 32, 256
ERROR = re.compile(
    r"(\w+\.)*\w*(Error|Exception|BadModel|Refuses|Graph|Fail)\b"
)  # the line of a traceback that says it
CPU_ROUND, CPU_ROUNDS = 0.05, 9  # seconds of a round, and their number
SECONDS_ALLOWED = 300  # for one contestant
RUNTIMES = {
    "onnxruntime": ("quantkit-onnxruntime", "onnxruntime-minmax", "onnxruntime-percentile", "nncf-onnx"),
    "openvino": ("quantkit-openvino", "nncf-openvino"),
}
HEADER = (
    "| model | runtime | by | worst SQNR, dB | as FP32, % | CPU, ms | speed-up | MB | calibration, s | memory, MB |\n"
    "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)
AS_FP32 = ("f1_50", "neighbours", "characters", "agreement")  # the first that there is stands in the table
Outputs = dict[str, npt.NDArray[Any]]


class OnnxRuntime:
    """A file in an onnxruntime session with its defaults."""

    executed_precision = ""

    def __init__(self, file: Path, threads: int = 0) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Outputs:
        """Run one feed."""
        return dict(zip(self.names, self._session.run(self.names, dict(inputs)), strict=True))

    @cached_property
    def names(self) -> list[str]:
        """The outputs."""
        return [output.name for output in self._session.get_outputs()]


class OpenVino:
    """A file compiled by OpenVINO's CPU device for the shapes of a feed, told to compute in f32 what is not INT8."""

    executed_precision = ""

    def __init__(self, file: Path, feed: Feed, names: Sequence[str], threads: int = 0) -> None:
        import openvino

        model = openvino.Core().read_model(file)
        model.reshape({port: list(feed[port.get_any_name()].shape) for port in model.inputs})
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        settings |= {"INFERENCE_NUM_THREADS": threads} if threads else {}
        self._compiled = openvino.Core().compile_model(model, "CPU", settings)
        self._names = names

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Outputs:
        """Run one feed; the outputs, in the model's order, get the names of the user's model."""
        found = self._compiled(dict(inputs))
        return {name: np.array(found[i]) for i, name in enumerate(self._names)}


def main() -> None:
    """Measure the models that are wanted, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for downloads, models and what is made of them")
    parser.add_argument("--json", type=Path, required=True, help="the results, written model by model")
    parser.add_argument("--only", nargs="+", choices=[model.name for model in MODELS], metavar="MODEL")
    parser.add_argument("--table", action="store_true", help="only print the table")
    parser.add_argument(
        "--retime", action="store_true", help="only measure CPU times again, of the files that are there"
    )
    arguments = parser.parse_args()
    results = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for model in MODELS if arguments.retime else ():
        if model.name in (arguments.only or results):
            retimed(model, arguments.folder, results[model.name])
            arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    for model in () if arguments.table or arguments.retime else MODELS:
        if model.name in arguments.only if arguments.only else model.name not in results:
            print(model.name, file=sys.stderr, flush=True)
            results[model.name] = measured(model, arguments.folder)
            arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


def measured(model: ZooModel, folder: Path) -> dict[str, Any]:
    """Return what became of one model: a list of rows for each runtime, FP32 first."""
    path = model.fetch(folder)
    feeds = model.feeds(CALIBRATION + HELD_OUT, path, folder)
    archive = folder / f"{model.name}.npz"
    np.savez(archive, **{name: np.stack([feed[name] for feed in feeds[:CALIBRATION]]) for name in feeds[0]})
    held_out = feeds[CALIBRATION:]
    user = OnnxRuntime(path)
    expected = [user.infer(feed) for feed in held_out]
    return {
        runtime: _rows(
            runtime, model, path, [quantized(own, path, archive, folder) for own in names], held_out, expected
        )
        for runtime, names in RUNTIMES.items()
    }


def quantized(contestant: str, model: Path, feeds: Path, folder: Path) -> dict[str, Any]:
    """Let a contestant quantize a model; return what it noted, or why it failed."""
    own = folder / f"{model.stem}-{contestant}"
    own.mkdir(exist_ok=True)
    result = own / "result.json"
    result.unlink(missing_ok=True)
    command = [sys.executable, str(PEERS), contestant, str(model), str(feeds)]
    command += ["--folder", str(own), "--result", str(result)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_ALLOWED)
    except subprocess.TimeoutExpired:
        return {"by": contestant, "failure": f"not done in {SECONDS_ALLOWED} s"}
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    warnings = [line for line in lines if line.startswith("Warning:")] if contestant.startswith("quantkit") else []
    if done.returncode:
        said = next((line for line in reversed(lines) if ERROR.match(line)), (lines or [""])[-1])
        return {"by": contestant, "failure": (said or f"exit status {done.returncode}").replace(f"{folder}/", "")}
    return {"by": contestant, "warnings": warnings, **json.loads(result.read_text())}


def _rows(
    runtime: str,
    zoo: ZooModel,
    model: Path,
    made: Sequence[dict[str, Any]],
    feeds: Sequence[Feed],
    expected: Sequence[Outputs],
) -> list[dict[str, Any]]:
    """Load the files of one runtime, and measure them side by side."""
    rows: list[dict[str, Any]] = []
    sessions = []
    task = None if zoo.answers is None else zoo.answers.fitted(model, feeds)
    for own in [{"by": "FP32", "file": str(model)}, *made]:
        rows.append(own)
        if "failure" in own:
            continue
        file = Path(own["file"])
        try:
            session = loaded(runtime, file, feeds[0], list(expected[0]))
            own["cpu_ms"] = cpu_ms(loaded(runtime, file, feeds[0], list(expected[0]), threads=1), feeds[0])
            found = [session.infer(feed) for feed in feeds]
            own["sqnr_db"] = sqnr(found, expected)
            if task is not None:
                own["answers"] = scored(task, feeds, expected, found)
        except Exception as error:  # noqa: BLE001  (whatever a runtime raises about a peer's file is the result)
            said = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "")
            own["failure"] = f"does not run: {said}".replace(f"{model.parent}/", "")
            continue
        own["mb"] = sum(f.stat().st_size for f in {file, file.with_suffix(".bin")} if f.exists()) / 1e6
        sessions.append((own, session))
    timings = time_sessions([session for _, session in sessions], feeds[0], 1, lambda _: None) if sessions else []
    for (own, _), timing in zip(sessions, timings, strict=True):
        own |= {"p50_ms": timing.latency.p50, "low_ms": timing.latency.p50_low, "high_ms": timing.latency.p50_high}
    return rows


def loaded(runtime: str, file: Path, feed: Feed, names: Sequence[str], threads: int = 0) -> OnnxRuntime | OpenVino:
    """Load a file; 0 threads are the runtime's own choice."""
    return OnnxRuntime(file, threads) if runtime == "onnxruntime" else OpenVino(file, feed, names, threads)


def cpu_ms(session: OnnxRuntime | OpenVino, feed: Feed) -> float:
    """Return the CPU time of one inference in milliseconds, which other processes hardly change: a median of rounds."""
    start = time.process_time()
    for _ in range(3):
        session.infer(feed)
    runs = max(1, int(CPU_ROUND / max((time.process_time() - start) / 3, 1e-6)))
    rounds = []
    for _ in range(CPU_ROUNDS):
        start = time.process_time()
        for _ in range(runs):
            session.infer(feed)
        rounds.append((time.process_time() - start) / runs)
    return 1e3 * statistics.median(rounds)


def retimed(model: ZooModel, folder: Path, runtimes: Mapping[str, Any]) -> None:
    """Measure CPU times again, of the files that are there."""
    path = model.fetch(folder)
    (feed,) = model.feeds(1, path, folder)
    names = OnnxRuntime(path).names
    for runtime, rows in runtimes.items():
        for row in rows:
            if "failure" not in row:
                row["cpu_ms"] = cpu_ms(loaded(runtime, Path(row["file"]), feed, names, threads=1), feed)


def sqnr(found: Sequence[Outputs], expected: Sequence[Outputs]) -> dict[str, float]:
    """Return the SQNR in dB of every float output and part that is not exact."""
    parts = {name: kinds(_rows_of(values)) for name, values in expected[0].items() if values.dtype.kind == "f"}
    noise = OutputNoise({name: own for name, own in parts.items() if own is not None})
    for pair in zip(expected, found, strict=True):
        noise.update(*({name: _rows_of(values) for name, values in each.items()} for each in pair))
    return {f"{e.output} {e.part}".strip(): e.sqnr_db for e in noise.errors() if e.sqnr_db is not None}


def _rows_of(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the output of one sample with the sample along the first axis."""
    return values if values.ndim and len(values) == 1 else values[None]


def table(results: Mapping[str, Any]) -> str:
    """Return the results as a Markdown table."""
    lines = [HEADER]
    for model, runtimes in results.items():
        for runtime, rows in runtimes.items():
            fp32 = rows[0].get("cpu_ms")
            lines += [_line(model, runtime, row, fp32) for row in rows]
    failures = [
        f"- {model}, {row['by']}: {row['failure'].replace('|', '/')}"
        for model, runtimes in results.items()
        for row in (row for rows in runtimes.values() for row in rows)
        if "failure" in row
    ]
    return "\n".join([*lines, "", "What fails:", "", *failures] if failures else lines)


def _line(model: str, runtime: str, row: Mapping[str, Any], fp32: float | None) -> str:
    by = row["by"].removesuffix("-openvino").removesuffix("-onnx")
    by = "quantkit" if by.startswith("quantkit") else by
    if "failure" in row:
        return f"| {model} | {runtime} | {by} | fails | | | | | | |"
    worst = min(row["sqnr_db"].values(), default=None)
    cells = [
        "–" if worst is None or (by == "FP32" and worst > 60) else f"{worst:.1f}",
        next((f"{100 * row['answers'][name]:.1f}" for name in AS_FP32 if name in row.get("answers", {})), ""),
        f"{row['cpu_ms']:.2f}",
        "" if fp32 is None or by == "FP32" else f"{fp32 / row['cpu_ms']:.2f}×",
        f"{row['mb']:.2f}",
        f"{row['seconds']:.1f}" if "seconds" in row else "",
        f"{row['memory_mb']:.0f}" if "memory_mb" in row else "",
    ]
    return f"| {model} | {runtime} | {by} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
