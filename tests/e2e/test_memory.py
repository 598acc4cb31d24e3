"""The memory of a calibration does not grow with the number of images."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

pytestmark = pytest.mark.slow

GROWTH = """
import sys
from pathlib import Path
import quantkit
from quantkit.runtime.activations import ActivationSession
from quantkit.graph.model_file import open_model
import quantkit.pipeline.calibration.stage
def peak():  # of this program; ru_maxrss would start from that of the process that started it
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
session = ActivationSession(open_model(Path(sys.argv[1])))
before = peak()
quantkit.calibrate(sys.argv[1], sys.argv[2], samples=int(sys.argv[3]), method="entropy")
print(peak() - before)
"""


def wide_model() -> onnx.ModelProto:
    """Few weights, large activations: 9 MB an image."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []
    for number, into in enumerate((3, 16, 16)):
        kernel = rng.standard_normal((16, into, 3, 3)).astype(np.float32) / 8
        weights.append(numpy_helper.from_array(kernel, f"w{number}"))
        source = f"relu{number - 1}" if number else "input"
        nodes.append(helper.make_node("Conv", [source, f"w{number}"], [f"conv{number}"], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"conv{number}"], [f"relu{number}"]))
    nodes.append(helper.make_node("GlobalAveragePool", ["relu2"], ["out"]))
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 152, 152])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 16, 1, 1])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def growth(model: Path, data: Path, samples: int) -> float:
    command = [sys.executable, "-c", GROWTH, model, data, str(samples)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def test_600_images_take_what_100_take(tmp_path: Path) -> None:
    onnx.save(wide_model(), tmp_path / "wide.onnx")
    rng = np.random.default_rng(0)
    (tmp_path / "imgs").mkdir()
    for number in range(600):
        pixels = rng.integers(0, 256, (38, 38, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "imgs" / f"{number}.png")
    runs = [[growth(tmp_path / "wide.onnx", tmp_path / "imgs", samples) for samples in (100, 600)] for _ in range(3)]
    # A run's peak is one image more or less, as reading and counting happen to meet. The long runs read 500 images
    # more: had they kept the pixels alone, as FP32, that would be 130 MB.
    few, many = max(run[0] for run in runs), min(run[1] for run in runs)
    one_image = 6 * 16 * 152 * 152 * 4 / 2**20
    assert few > one_image  # the measure sees what it is about
    assert few < 20 * one_image
    assert many <= few + one_image
