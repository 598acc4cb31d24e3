"""INT8 by quantkit and by its peers, all at their defaults: accuracy, agreement, SQNR, latency, time and memory.

python scripts/bench_accuracy.py model.onnx --data calib.txt --samples 200 --eval-data eval.txt --eval-samples 1000 \\
    --json results.json --markdown table.md

Every contestant quantizes the same images, those that quantkit would choose, in a process of its own, one at a time
(onnxruntime's percentile and entropy take 6 to 8 GB). All models are then run by OpenVINO on the CPU and held against
OpenVINO's own FP32 (told f32). Latency is of one image, in interleaved rounds. A package may live in an environment of
its own, as modelopt, quark (amd-quark, onnxruntime, torch) and aimet (aimet-onnx) do: --python
modelopt=/path/to/python. The last two learn how to round weights, which takes minutes at 32×32 and far longer at
224×224. A peer that is missing or fails is named and left out. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from bench_common import decibels, parser_of, percent
from bench_peers import QUANTIZE, Work, decoded

PEERS = Path(__file__).with_name("bench_peers.py")
ROUNDS, RUNS, WARM = 200, 4, 2  # short turns, so that a drift of the machine meets all alike
HEADER = (
    "| model, samples | tool | top-1 % [95 %] | agree % | SQNR, dB | p50, ms | over the fastest | time, s | "
    "memory, MB |\n"
    "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def call(python: str, arguments: Sequence[str], result: Path) -> tuple[dict[str, Any], str]:
    """What bench_peers.py noted, and why it failed, or nothing."""
    environment = os.environ | {"OPENVINO_TELEMETRY_DISABLED": "1", "NNCF_CI": "1"}
    done = subprocess.run(
        [python, str(PEERS), *arguments, "--result", str(result)], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return {}, (lines or [f"exit status {done.returncode}, for want of memory?"])[-1][:200]
    return json.loads(result.read_text()), ""


def quantized(arguments: argparse.Namespace, folder: Path) -> tuple[Work, dict[str, dict[str, Any]], dict[str, str]]:
    """The work, what each contestant noted, and why the others are missing."""
    result = folder / "result.json"
    size = [str(arguments.model), str(arguments.data), str(arguments.samples)]
    chosen, failure = call(sys.executable, ["select", *size], result)
    if failure:
        sys.exit(f"The images cannot be chosen: {failure}")
    (folder / "work.json").write_text(json.dumps(chosen))
    pythons = dict(item.split("=", 1) for item in arguments.python)
    made, missing = {}, {}
    for peer in arguments.peers or QUANTIZE:
        own = folder / peer
        own.mkdir()
        python = pythons.get(peer.split("-")[0], sys.executable)
        command = ["quantize", peer, str(folder / "work.json"), "--folder", str(own)]
        noted, failure = call(python, command, result)
        print(f"{peer}: {failure or format(noted['seconds'], '.1f') + ' s'}", file=sys.stderr, flush=True)
        if failure:
            missing[peer] = failure
        else:
            made[peer] = noted
    return Work(**chosen), made, missing


def evaluation(arguments: argparse.Namespace, work: Work) -> tuple[Any, Any]:
    """float32 images (N, 3, H, W), and labels (N,) by their folders' names in sorted order."""
    import numpy as np

    listed = arguments.eval_data
    if listed.is_dir():
        images = sorted(path for path in listed.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    else:
        images = [listed.parent / line for line in listed.read_text().split("\n") if line.strip()]
    classes = sorted({path.parent.name for path in images})
    images = images[: arguments.eval_samples]
    pixels = np.concatenate([decoded(str(path), work.size) for path in images])
    return pixels, np.array([classes.index(path.parent.name) for path in images])


def outputs_of(core: Any, model: str, pixels: Any) -> Any:
    """The first output for every image, float32 (N, classes)."""
    import numpy as np
    import openvino

    network = core.read_model(model)
    network.reshape({network.inputs[0]: [1, *pixels.shape[1:]]})
    settings = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    queue = openvino.AsyncInferQueue(core.compile_model(network, "CPU", settings))
    found: list[Any] = [None] * len(pixels)
    queue.set_callback(lambda request, i: found.__setitem__(i, request.get_output_tensor(0).data.copy()))
    for i in range(len(pixels)):
        queue.start_async({0: pixels[i : i + 1]}, i)
    queue.wait_all()
    return np.concatenate(found)


def latencies(core: Any, models: dict[str, str], image: Any) -> dict[str, float]:
    """Median milliseconds of one image, the models in turns."""
    requests = {}
    for name, model in models.items():
        network = core.read_model(model)
        network.reshape({network.inputs[0]: list(image.shape)})
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        requests[name] = core.compile_model(network, "CPU", settings).create_infer_request()
    times: dict[str, list[float]] = {name: [] for name in models}
    names = list(models)
    for number in range(ROUNDS):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            own = []
            for _ in range(WARM + RUNS):
                start = time.perf_counter()
                requests[name].infer({0: image})
                own.append(1e3 * (time.perf_counter() - start))
            times[name].append(statistics.median(own[WARM:]))
    return {name: statistics.median(own) for name, own in times.items()}


def rows(arguments: argparse.Namespace, work: Work, made: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for FP32 and one for each contestant."""
    import openvino

    from quantkit.measure.intervals import wilson_interval
    from quantkit.measure.sqnr import OutputNoise

    core = openvino.Core()
    pixels, labels = evaluation(arguments, work)
    models = {"FP32": work.model} | {peer: noted["model"] for peer, noted in made.items()}
    times = latencies(core, models, pixels[:1])
    fastest = min((own for name, own in times.items() if name != "FP32"), default=times["FP32"])
    reference, found = None, []
    for name, model in models.items():
        outputs = outputs_of(core, model, pixels)
        reference = outputs if reference is None else reference
        noise = OutputNoise()
        noise.update({"y": reference}, {"y": outputs})
        top1 = wilson_interval(int((outputs.argmax(axis=1) == labels).sum()), len(labels))
        noted = made.get(name, {})
        found.append(
            {
                "model": arguments.model.stem,
                "samples": len(work.images),
                "evaluated": len(labels),
                "tool": name,
                "version": noted.get("version", f"openvino {openvino.__version__.split('-')[0]}"),
                "top1": top1.value,
                "top1_low": top1.low,
                "top1_high": top1.high,
                "agreement": float((outputs.argmax(axis=1) == reference.argmax(axis=1)).mean()),
                "sqnr_db": noise.sqnr_db,
                "p50_ms": times[name],
                "of_fastest": times[name] / fastest,
                "seconds": noted.get("seconds"),
                "rss_mb": noted["rss_bytes"] / 1e6 if noted else None,
            }
        )
    return found


def table(found: Sequence[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [HEADER]
    for row in found:
        seconds = row["seconds"]
        top1 = percent(row["top1"], row["top1_low"], row["top1_high"])
        cost = "– | –" if seconds is None else f"{seconds:.1f} | {row['rss_mb']:.0f}"
        lines.append(
            f"| {row['model']}, {row['samples']} | {row['tool']} | {top1} | {100 * row['agreement']:.2f} | "
            f"{decibels(row['sqnr_db'])} | {row['p50_ms']:.3f} | {row['of_fastest']:.2f} | {cost} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Quantize, evaluate, and write both tables."""
    parser = parser_of(__doc__)
    parser.add_argument("--peers", nargs="+", choices=QUANTIZE, help="these alone; without it, all")
    parser.add_argument("--python", action="append", default=[], metavar="PACKAGE=PYTHON")
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work, made, missing = quantized(arguments, Path(name))
        found = rows(arguments, work, made)
    for peer, why in missing.items():
        print(f"{peer} is missing: {why}", file=sys.stderr)
    print(table(found), end="")
    if arguments.markdown:
        arguments.markdown.write_text(table(found), encoding="utf-8")
    if arguments.json:
        document = {"date": date.today().isoformat(), "rows": found, "missing": missing}
        arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
