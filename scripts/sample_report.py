"""Make the run of a 155-layer model, to look at its report: real calibration, real comparison, random weights.

    python scripts/sample_report.py DIR [--images 40] [--width 12]

The model has the shape of ResNet-152 on 64 x 64, with few channels. Nothing has taught it, so its images go unlabelled
and the report speaks of agreement with FP32. Images are those of ``quantkit demo``. It takes about a minute.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from quantkit.demo.write import write_demo

BLOCKS = (3, 8, 36, 3)  # of ResNet-152: He et al., https://arxiv.org/abs/1512.03385
CLASSES = 10


class Builder:
    """Nodes and random weights of a network of Convs."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def conv(self, name: str, source: str, shape: tuple[int, int, int], stride: int = 1, gain: float = 1.0) -> str:
        """A Conv of ``shape`` (outputs, inputs, kernel) with He's initialisation; its output's name."""
        outputs, inputs, kernel = shape
        scale = gain * (2 / (inputs * kernel**2)) ** 0.5
        weight = self.rng.standard_normal((outputs, inputs, kernel, kernel)) * scale
        self.weights.append(numpy_helper.from_array(weight.astype(np.float32), f"{name}.weight"))
        bias = self.rng.standard_normal(outputs) * 0.1
        self.weights.append(numpy_helper.from_array(bias.astype(np.float32), f"{name}.bias"))
        pads = [kernel // 2] * 4
        inputs_of_node = [source, f"{name}.weight", f"{name}.bias"]
        return self.add("Conv", name, inputs_of_node, pads=pads, strides=[stride] * 2)

    def add(self, kind: str, name: str, sources: list[str], **attributes: object) -> str:
        """Any node with one output."""
        output = f"/{name}/{kind}_output_0"
        self.nodes.append(helper.make_node(kind, sources, [output], name=f"/{name}/{kind}", **attributes))
        return output


def deep_model(width: int) -> onnx.ModelProto:
    """Bottleneck blocks of 1x1, 3x3 and 1x1 Convs, as in ResNet-152, ``width`` channels in the first stage."""
    net = Builder(seed=0)
    x = net.add("Relu", "relu", [net.conv("conv1", "input", (width, 3, 7), stride=2)])
    channels = width
    for stage, blocks in enumerate(BLOCKS):
        inner = width * 2**stage
        for block in range(blocks):
            name = f"layer{stage + 1}/layer{stage + 1}.{block}"
            stride = 2 if stage and not block else 1
            y = net.add("Relu", f"{name}/relu1", [net.conv(f"{name}/conv1", x, (inner, channels, 1))])
            y = net.add("Relu", f"{name}/relu2", [net.conv(f"{name}/conv2", y, (inner, inner, 3), stride)])
            y = net.conv(f"{name}/conv3", y, (2 * inner, inner, 1), gain=0.3)
            if not block:
                x = net.conv(f"{name}/downsample", x, (2 * inner, channels, 1), stride)
            channels = 2 * inner
            x = net.add("Relu", f"{name}/relu3", [net.add("Add", name, [y, x])])
    x = net.add("Flatten", "flatten", [net.add("GlobalAveragePool", "avgpool", [x])])
    matrix = net.rng.standard_normal((CLASSES, channels)).astype(np.float32)
    net.weights.append(numpy_helper.from_array(matrix, "fc.weight"))
    net.nodes.append(helper.make_node("Gemm", [x, "fc.weight"], ["logits"], name="/fc/Gemm", transB=1))
    graph = helper.make_graph(
        net.nodes,
        "resnet152-narrow-random",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 64, 64])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        net.weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def flat_images(source: Path, folder: Path, count: int) -> Path:
    """The first images of each class of ``source``, in one folder, so that they are unlabelled."""
    folder.mkdir(parents=True)
    per_class = -(-count // CLASSES)
    for group in sorted(path for path in source.iterdir() if path.is_dir()):
        for picture in sorted(group.glob("*.png"))[:per_class]:
            Image.open(picture).save(folder / f"{group.name}-{picture.name}")
    return folder


def main() -> None:
    """Write the model and the images, then run quantkit on them."""
    parser = argparse.ArgumentParser(description="Make the run of a 155-layer model of random weights.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--width", type=int, default=12)
    options = parser.parse_args()
    folder = options.folder
    folder.mkdir(parents=True)
    write_demo(folder / "digits")
    images = folder / "digits" / "imgs"
    model = folder / "resnet152-narrow-random.onnx"
    onnx.save(deep_model(options.width), model)
    calibration = flat_images(images / "calib", folder / "calibration", options.images)
    evaluation = flat_images(images / "eval", folder / "evaluation", 2 * options.images)
    quantkit = [sys.executable, "-m", "quantkit"]
    subprocess.run([*quantkit, "calibrate", model, "--data", calibration, "-o", folder / "run"], check=True)
    subprocess.run([*quantkit, "compare", folder / "run", "--data", evaluation], check=True)


if __name__ == "__main__":
    main()
