"""Makes the golden files of tests/golden: TensorRT's own calibrators, run on the project's models.

In an environment with quantkit, write the models and the inputs that both sides get:

    python scripts/make_golden.py inputs FOLDER

On a machine with a GPU, TensorRT 8.6 to 10, numpy and polygraphy, write each model's caches beside them:

    python scripts/make_golden.py caches FOLDER

and copy ``*.cache`` to tests/golden.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 200


def write_inputs(folder: Path) -> None:
    """``<name>.onnx`` and ``<name>.npy``, (N, C, H, W) float32 in calibration order."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from quantkit.datasets.select import balanced_choice
    from tests.golden.cases import CASES

    folder.mkdir(parents=True, exist_ok=True)
    for name, case in CASES.items():
        model, inputs = case()
        (folder / f"{name}.onnx").write_bytes(model)
        # In the order that quantkit chooses by default: TensorRT, too, fixes its bins by the first sample.
        np.save(folder / f"{name}.npy", inputs[:SAMPLES][balanced_choice(None, SAMPLES, None, 0)])


def write_caches(folder: Path) -> None:
    """``<name>.entropy2.cache`` and ``<name>.minmax.cache``, at batch 1."""
    import tensorrt as trt
    from polygraphy.backend.trt import (
        Calibrator,
        CreateConfig,
        engine_bytes_from_network,
        network_from_onnx_path,
    )

    algorithms: dict[str, Any] = {"entropy2": trt.IInt8EntropyCalibrator2, "minmax": trt.IInt8MinMaxCalibrator}
    for model in sorted(folder.glob("*.onnx")):
        inputs = np.load(model.with_suffix(".npy"))
        for algorithm, base in algorithms.items():
            network = network_from_onnx_path(str(model))
            name = network[1].get_input(0).name
            cache = model.with_suffix(f".{algorithm}.cache")
            data = ({name: sample[None]} for sample in inputs)
            calibrator = Calibrator(data, cache=str(cache), BaseClass=base)
            engine_bytes_from_network(network, CreateConfig(int8=True, calibrator=calibrator))
            print(cache, len(cache.read_text().splitlines()) - 1, "tensors")


if __name__ == "__main__":
    {"inputs": write_inputs, "caches": write_caches}[sys.argv[1]](Path(sys.argv[2]))
