"""The TensorRT side of bench_gpu.py: one step of one model, in a process of its own.

python3.10 scripts/bench_gpu_engines.py calibrate|fp16|int8|measure OUT NAME [--batch 1] [--fresh]

"calibrate" calibrates OUT/<name>.onnx on OUT/<name>.npz, without a GPU; a precision's name builds its engine of one
batch size in OUT/<name>/batch<size>/; "measure" times all engines and writes OUT/<name>/measured.json. Nothing else may
run on the GPU while it measures.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.recipe import Recipe
from quantkit.pipeline.build import EngineRequest

BATCHES = (1, 32)
PRECISIONS = ("fp16", "int8")
LEVELS = {"efficientnet_b4": 2}  # of the builder's optimization, where the default (3) takes over 8 minutes an engine
DEVICE = "cuda:0"
SECONDS = 1.0  # of timing for each engine and batch, after half a second of warm-up
FEWEST, MOST = 50, 1000  # repeats
WARM_UP = 20

Arrays = dict[str, npt.NDArray[Any]]


def calibrate(folder: Path, name: str, fresh: bool) -> None:
    """Calibrate, and compute FP32's outputs of the samples."""
    from quantkit import api
    from quantkit.core.files import write_npz

    own, data = folder / name, folder / f"{name}.npz"
    own.mkdir(exist_ok=True)
    for record in (*own.glob("batch*/*.json"), own / "measured.json", own / "qdq.npz"):
        record.unlink(missing_ok=True)  # an earlier call's
    samples = samples_of(data)
    number = len(next(iter(samples.values())))
    model = folder / f"{name}.onnx"
    api.calibrate(model, data, samples=number, preprocess="raw", output=own / "run", fresh=fresh)
    write_npz(own / "fp32.npz", outputs_of(model, samples))


def build(folder: Path, name: str, precision: str, batch: int, fresh: bool) -> None:
    """Build one engine; what fails says why in its record."""
    from quantkit import api
    from quantkit.config import parse_config
    from quantkit.core.files import write_npz
    from quantkit.pipeline.build import build_engines

    own, place, start = folder / name, folder / name / f"batch{batch}", time.monotonic()
    place.mkdir(exist_ok=True)
    calibration = api.load_calibration(own / "run")
    level = {"optimization_level": LEVELS[name]} if name in LEVELS else {}
    config = parse_config({"build": level}, Path(__file__).name)
    try:
        engine = build_engines(
            config, Recipe.of(calibration), place, EngineRequest("tensorrt", [precision], [batch], DEVICE, fresh)
        )[0]
        record = engine.record.model_dump(mode="json", exclude={"layers"})
        built: dict[str, Any] = {"engine": str(engine.artifact.path), "record": record}
    except Exception as error:  # noqa: BLE001 - the other precision may still build
        built = {"error": f"{type(error).__name__}: {error}"}
    built["seconds"] = round(time.monotonic() - start, 1)
    placed = place / "tensorrt" / "int8" / "model.onnx"
    if precision == "int8" and placed.is_file() and not (own / "qdq.npz").is_file():
        write_npz(own / "qdq.npz", outputs_of(placed, samples_of(folder / f"{name}.npz")))
    write_json(place / f"{precision}.json", built)


def outputs_of(model: Path, samples: Arrays) -> Arrays:
    """What onnxruntime computes of all samples on the CPU."""
    from quantkit.runtime.session import cpu_session

    session = cpu_session(model)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, samples), strict=True))


def measure(folder: Path, name: str) -> None:
    """Time every engine of one model at every batch, and compare its outputs with FP32's."""
    from quantkit.core.artifact import Artifact
    from quantkit.measure.environment import environment
    from quantkit.measure.gpu import driver
    from quantkit.targets.tensorrt.target import TensorRT

    own = folder / name
    samples = samples_of(folder / f"{name}.npz")
    references = {name: samples_of(own / f"{name}.npz") for name in ("fp32", "qdq") if (own / f"{name}.npz").is_file()}
    document: dict[str, Any] = {"environment": {}, "engines": {}}
    for precision in PRECISIONS:
        document["engines"][precision] = {}
        for batch in BATCHES:
            built = read_json(own / f"batch{batch}" / f"{precision}.json") or {"error": "was not built in time"}
            document["engines"][precision][str(batch)] = built
            if "error" not in built:
                try:
                    session = TensorRT().load(Artifact("tensorrt", precision, (Path(built["engine"]),)), DEVICE)
                    document["environment"] = environment(session.device_name).model_dump() | {"driver": driver()}
                    built["executed_precision"] = session.executed_precision
                    built["memory_bytes"] = session.memory_bytes
                    built |= one(session, samples, references, batch)
                except Exception as error:  # noqa: BLE001 - the other engines may still run
                    built["error"] = f"{type(error).__name__}: {error}"
            write_json(own / "measured.json", document)


def one(session: Any, samples: Arrays, references: Mapping[str, Arrays], batch: int) -> dict[str, Any]:
    """Milliseconds, SQNR of the worst output, and clocks under load, of one engine at one batch.

    The SQNR is taken against FP32, and against the Q/DQ model that onnxruntime computes, which tells a wrong INT8
    engine from a model that INT8 does not suit: random weights amplify every rounding.
    """
    from quantkit.measure.gpu import under_load
    from quantkit.measure.sqnr import OutputNoise

    rows = np.arange(batch) % len(next(iter(samples.values())))
    inputs = {name: array[rows] for name, array in samples.items()}
    found, sqnr = session.infer(inputs), {}
    for title, reference in references.items():
        noise = OutputNoise()
        noise.update({name: array[rows] for name, array in reference.items()}, found)
        sqnr[title] = noise.sqnr_db
    estimate = float(np.median(session.device_times(inputs, WARM_UP).with_copies)) / 1e3
    session.device_times(inputs, max(WARM_UP, round(0.5 / estimate)))
    times = session.device_times(inputs, int(np.clip(SECONDS / estimate, FEWEST, MOST)))
    load = under_load(session, inputs, estimate * 1e3)
    return {
        "compute": percentiles(times.compute),
        "with_copies": percentiles(times.with_copies),
        "graph": percentiles(times.graph) if times.graph else {},
        "back_to_back": times.back_to_back,
        "sqnr_db": sqnr,
        "load": load.model_dump(),
    }


def percentiles(milliseconds: Any) -> dict[str, float]:
    """The median and the tail."""
    p50, p90, p99 = np.percentile(milliseconds, [50, 90, 99])
    return {"p50": float(p50), "p90": float(p90), "p99": float(p99), "repeats": len(milliseconds)}


def samples_of(path: Path) -> Arrays:
    """All arrays of an .npz."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is not there."""
    return dict(json.loads(path.read_text())) if path.is_file() else {}


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write it whole."""
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(document, indent=1))
    temporary.replace(path)


def main() -> None:
    """Do the step; a failure is the last line of what it prints. Exits 1 then."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["calibrate", *PRECISIONS, "measure"])
    parser.add_argument("out", type=Path)
    parser.add_argument("name")
    parser.add_argument("--batch", type=int, choices=BATCHES, default=BATCHES[0], help="of the engine to build")
    parser.add_argument("--fresh", action="store_true", help="calibrate and build again what is there")
    arguments = parser.parse_args()
    try:
        if arguments.step == "calibrate":
            calibrate(arguments.out, arguments.name, arguments.fresh)
        elif arguments.step == "measure":
            measure(arguments.out, arguments.name)
        else:
            build(arguments.out, arguments.name, arguments.step, arguments.batch, arguments.fresh)
    except Exception as error:  # noqa: BLE001 - told in a sentence
        sys.exit(f"{type(error).__name__}: {error}".replace("\n", " "))


if __name__ == "__main__":
    main()
