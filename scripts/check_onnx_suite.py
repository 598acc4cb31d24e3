"""Feeds the operator tests of the installed ``onnx`` package through calibrate and export.

    python scripts/check_onnx_suite.py [--only PATTERN] [--every N] [--json]

Each model has to be exported for every target in files that load, with transforms that change nothing before rounding,
or be refused with a clear error. Exit code 1 if one is neither, or if more than --most-refused are refused.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

EXPORTED, REFUSED, BEYOND, FAILED = "exported", "refused", "beyond onnxruntime", "failed"
TOGETHER = 64  # models in one pool of processes
TARGETS = ("onnxruntime", "openvino", "tensorrt")
LIGHT_MODELS = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


@dataclass(frozen=True)
class Outcome:
    """What became of a model: one of the four words, and why."""

    name: str
    what: str
    why: str = ""
    not_for: tuple[str, ...] = ()  # targets that refuse the model, each with its reason


def models() -> dict[str, tuple[onnx.ModelProto, list[Any]]]:
    """The operator tests by name, each with the model and its inputs."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    found = {case.name: (case.model, list(case.data_sets[0][0])) for case in cases}
    for file in sorted(LIGHT_MODELS.glob("*.onnx")):
        model = onnx.load(file)
        rng = np.random.default_rng(0)
        constants = {tensor.name for tensor in model.graph.initializer}
        inputs = [
            rng.standard_normal([d.dim_value or 1 for d in value.type.tensor_type.shape.dim]).astype(np.float32)
            for value in model.graph.input
            if value.name not in constants
        ]
        found[file.stem] = model, inputs
    return found


def tried(name: str, data: bytes, inputs: list[Any]) -> Outcome:
    """Calibrate and export one model."""
    from check_artifacts import faults_of, outputs_of, transform_faults

    import quantkit as qk
    from quantkit.core.errors import QuantkitError
    from quantkit.graph.model_file import open_model

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="quantkit-suite-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(data)
        graph = onnx.load_from_string(data).graph
        constants = {tensor.name for tensor in graph.initializer}
        named = [value.name for value in graph.input if value.name not in constants][: len(inputs)]
        feeds = {key: np.asarray(own) for key, own in zip(named, inputs, strict=True)}
        runs = True
        try:
            outputs_of(path, feeds)
        except Exception:  # noqa: BLE001
            runs = False
        try:
            np.savez(Path(folder) / "data.npz", **{key: own[None] for key, own in feeds.items()})
            calibration = qk.calibrate(path, Path(folder) / "data.npz", samples=1, method="minmax")
            faults = list(transform_faults(open_model(path), feeds, calibration)) if runs else []
            not_for = []
            for target in TARGETS:
                try:
                    artifacts = qk.export(
                        calibration, target, precisions=("fp32", "fp16", "int8")[target == "tensorrt" :],
                        output=Path(folder) / "out",
                    )  # fmt: skip
                except QuantkitError as refusal:
                    not_for.append(f"{target}: {refusal}")
                    faults += [str(refusal)] if "though it parses the model" in str(refusal) else []
                    continue
                for artifact in artifacts:
                    faults += faults_of(artifact)
                    not_for += [f"{target}: {note}" for note in artifact.notes if "nor the model itself" in note]
                    faults += [note for note in artifact.notes if "though it parses the model" in note]
            if faults:
                return Outcome(name, FAILED, "; ".join(faults[:3]), tuple(not_for))
            if len(not_for) == len(TARGETS):
                return Outcome(name, REFUSED, not_for[0])
            return Outcome(name, EXPORTED, not_for=tuple(not_for))
        except QuantkitError as refusal:
            return Outcome(name, REFUSED if runs else BEYOND, str(refusal).replace(folder, ""))
        except Exception as error:  # noqa: BLE001
            where = traceback.extract_tb(error.__traceback__)[-1]
            at = f"{Path(where.filename).name}:{where.lineno}"
            return Outcome(name, FAILED, f"{type(error).__name__}: {error} ({at})")


def all_tried(chosen: dict[str, tuple[onnx.ModelProto, list[Any]]]) -> list[Outcome]:
    """Try models in processes of their own; one that dies takes no other model's outcome with it."""
    outcomes, alone = [], len(chosen) == 1
    with ProcessPoolExecutor(1 if alone else 2) as pool:
        futures = {
            pool.submit(tried, name, model.SerializeToString(), inputs): name
            for name, (model, inputs) in chosen.items()
        }
        for future in as_completed(futures):
            name = futures[future]
            try:
                outcomes.append(future.result())
            except BrokenExecutor as error:
                outcomes += [Outcome(name, FAILED, f"its process died: {error}")] if alone else []
    missing = chosen.keys() - {own.name for own in outcomes}
    return outcomes + [own for name in sorted(missing) for own in all_tried({name: chosen[name]})]


def main() -> int:
    """Try all models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", help="wildcard of model names")
    parser.add_argument("--every", type=int, default=1, help="try every Nth model")
    parser.add_argument("--most-refused", type=int, default=300)
    parser.add_argument("--json", action="store_true", help="print every outcome")
    arguments = parser.parse_args()
    chosen = {name: own for name, own in models().items() if fnmatchcase(name, arguments.only)}
    chosen = {name: chosen[name] for name in list(chosen)[:: arguments.every]}
    begun = time.monotonic()
    tensors = {n: own for n, own in chosen.items() if all(isinstance(x, np.ndarray | np.generic) for x in own[1])}
    outcomes = [Outcome(name, REFUSED, "an input is no tensor") for name in chosen if name not in tensors]
    names = list(tensors)
    for start in range(0, len(names), TOGETHER):
        outcomes += all_tried({name: tensors[name] for name in names[start : start + TOGETHER]})
    outcomes.sort(key=lambda own: own.name)
    counts = Counter(own.what for own in outcomes)
    if arguments.json:
        print(json.dumps([asdict(own) for own in outcomes], indent=1))
    else:
        _print(outcomes, counts, time.monotonic() - begun)
    return 1 if counts[FAILED] or counts[REFUSED] > arguments.most_refused else 0


def _print(outcomes: list[Outcome], counts: Counter[str], seconds: float) -> None:
    print(f"{len(outcomes)} models in {seconds:.0f} s: " + ", ".join(f"{n} {what}" for what, n in counts.most_common()))
    for what in (REFUSED, BEYOND):
        reasons = Counter(_kind(own.why) for own in outcomes if own.what == what)
        for reason, count in reasons.most_common(25):
            print(f"  {what} {count:5d}  {reason}")
    refusing = Counter(_kind(why) for own in outcomes if own.what == EXPORTED for why in own.not_for)
    for reason, count in refusing.most_common(15):
        print(f"  not for {count:4d}  {reason}")
    for own in outcomes:
        if own.what == FAILED:
            print(f"  FAILED {own.name}: {own.why}")


def _kind(reason: str) -> str:
    """Return a reason without the names in it, so that like ones are counted together."""
    reason = re.sub(r"/tmp/\S+", "…", reason)
    return re.sub(r"'[^']*'|\"[^\"]*\"|\([^()]*\)|\d+", "…", reason)[:150]


if __name__ == "__main__":
    sys.exit(main())
