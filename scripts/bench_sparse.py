"""What `build --sparse` is worth: a model whose Convs are pruned 2:4, with TensorRT's sparse kernels and without.

    python scripts/bench_sparse.py MODEL.onnx --data imgs/calib [--out sparse] [--samples 200] [--batch 64]
        [--precisions int8 fp16] [--prune-only]

Of every four input channels of a Conv's weight, the two smallest become zero: its answers are not the model's, and
only its times are looked at. The four engines are built one after another and timed in turns. Writes OUT/sparse.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

import quantkit
from quantkit.core.artifact import Artifact
from quantkit.datasets import Stream, open_dataset
from quantkit.graph.model_file import open_model
from quantkit.measure.environment import environment
from quantkit.measure.gpu import driver
from quantkit.measure.latency import time_sessions
from quantkit.targets.tensorrt import TensorRT

DEVICE = "cuda:0"


def pruned(model: Path, output: Path) -> int:
    """Write the model with 2:4 sparse Convs; return how many are."""
    proto = onnx.load(str(model))
    weights = {tensor.name: tensor for tensor in proto.graph.initializer}
    found = 0
    for node in proto.graph.node:
        tensor = weights.get(node.input[1]) if node.op_type == "Conv" else None
        if tensor is None or tensor.dims[1] % 4:
            continue
        values = numpy_helper.to_array(tensor)
        groups = np.moveaxis(values, 1, -1).reshape(-1, 4).copy()
        np.put_along_axis(groups, np.argsort(np.abs(groups), axis=1)[:, :2], 0, axis=1)
        back = np.moveaxis(groups.reshape(np.moveaxis(values, 1, -1).shape), -1, 1)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(back), tensor.name))
        found += 1
    onnx.save(proto, str(output))
    return found


def engine_of(run: Path, precision: str, sparse: bool, batch: int) -> Artifact:
    """Build an engine in a copy of the run of its own."""
    own = run.with_name(f"{run.name}-{precision}-{'sparse' if sparse else 'dense'}")
    if not own.exists():
        shutil.copytree(run, own)
    (engine,) = quantkit.build(own, precisions=precision, batch_sizes=[batch], sparse=sparse, device=DEVICE)
    return engine.artifact


def main() -> None:
    """Prune, calibrate, build, time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("sparse"))
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--precisions", nargs="+", default=["int8", "fp16"])
    parser.add_argument("--prune-only", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    sparse_model = options.out.resolve() / f"{options.model.stem}-2-4.onnx"
    print(f"{pruned(options.model, sparse_model)} Convs are 2:4 sparse: {sparse_model}")
    if options.prune_only:
        return
    run = options.out.resolve() / "run"
    calibration = quantkit.calibrate(sparse_model, options.data, samples=options.samples, output=run)
    model, target = open_model(sparse_model), TensorRT()
    ways = [(precision, sparse) for precision in options.precisions for sparse in (False, True)]
    sessions = {way: target.load(engine_of(run, *way, options.batch), DEVICE) for way in ways}
    opened = open_dataset(options.data, model.inputs, calibration.preprocess)
    (batch, *_) = Stream(opened.dataset, [int(opened.indices[0])]).batches(1)
    inputs = {name: np.repeat(values, options.batch, axis=0) for name, values in batch.inputs.items()}
    timings = time_sessions(list(sessions.values()), inputs, options.batch, lambda _: None)
    rows = []
    for (precision, sparse), timing in zip(ways, timings, strict=True):
        rows.append({"precision": precision, "sparse": sparse, "batch": options.batch, "p50": timing.latency.p50})
        print(f"{precision} {'sparse' if sparse else 'dense'}: {timing.latency.p50:.3f} ms")
    where = environment(sessions[ways[0]].device_name).model_dump(mode="json") | {"driver": driver()}
    record = {"environment": where, "rows": rows}
    (options.out / "sparse.json").write_text(json.dumps(record, indent=1, default=str) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
