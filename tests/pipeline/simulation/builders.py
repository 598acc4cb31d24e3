"""Models for the simulation, calibrated on random samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from quantkit.core.recipe import Recipe
from quantkit.graph.model_file import ModelFile
from quantkit.pipeline.export import calibrated_model
from quantkit.pipeline.simulation.simulation import Simulation
from quantkit.targets import targets_named
from tests.conftest import tiny_model
from tests.graphs import scalable
from tests.graphs.small import Arrays, calibrated, network, weights
from tests.graphs.vision_transformer import transformer_model

RNG = np.random.default_rng(5)
SAMPLES = 12

HARD_SWISH = """(float[N,8,6,6] x) => (float[N,16,6,6] y) {
    a = Conv(x, w1)
    s = Add(a, three)
    c = Clip(s, zero, six)
    p = Mul(a, c)
    h = Div(p, six)
    y = Conv(h, w2)
}"""
ENDS = """(float[N,8,6,6] x) => (float[N,16,6,6] a, float[N,32,6,6] j, float[N,16,6,6] dead_end) {
    a = Conv(x, w1)
    b = Conv(a, w2)
    j = Concat<axis = 1>(a, b)
    unread = Conv(b, w2)
    dead_end = Sigmoid(b)
}"""


def hard_swish() -> onnx.ModelProto:
    """Two Convs with a HardSwish between them that is spelled out."""
    constants = {"w1": weights(16, 8, 1, 1), "w2": weights(16, 16, 1, 1), "three": 3.0, "zero": 0.0, "six": 6.0}
    return network(HARD_SWISH, constants)


def ends() -> onnx.ModelProto:
    """Outputs that are rounded where they are computed, and a Conv whose output nothing reads."""
    return network(ENDS, {"w1": weights(16, 8, 1, 1), "w2": weights(16, 16, 1, 1)})


def renamed() -> onnx.ModelProto:
    """The tiny model, with nodes that are not named like their outputs: --exclude matches both."""
    model = tiny_model()
    for node in model.graph.node:
        node.name = f"node {node.name}"
    return model


MODELS = {
    "tiny": tiny_model,
    "renamed": renamed,
    "mobile": scalable.mobile,
    "norm": scalable.transformer,
    "transformer": transformer_model,
    "hard swish": hard_swish,
    "ends": ends,
}


def feeds(model: onnx.ModelProto, samples: int = SAMPLES) -> Arrays:
    """Random samples for the only input."""
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim][1:]
    spread = np.exp(RNG.normal(0, 0.5, (samples, *[1] * len(shape))))
    return {model.graph.input[0].name: (RNG.standard_normal((samples, *shape)) * spread).astype(np.float32)}


@dataclass(frozen=True)
class Made:
    """A calibrated model, and the Q/DQ model and simulation of one target."""

    model: ModelFile
    recipe: Recipe
    target: str
    samples: Arrays

    @property
    def quantized(self) -> onnx.ModelProto:
        return targets_named([self.target])[0].quantized(self.model, self.recipe).proto

    def simulation(self, recipe: Recipe | None = None) -> Simulation:
        """Node by node, so that it is comparable to the bit."""
        return Simulation.of(self.model, recipe or self.recipe, targets_named([self.target])[0], optimized=False)


def made(name: str, target: str, folder: Path) -> Made:
    """Calibrate one of ``MODELS``."""
    if target == "openvino":
        pytest.importorskip("openvino")
    model = MODELS[name]()
    samples = feeds(model)
    calibration = calibrated(model, samples, folder)
    return Made(calibrated_model(calibration), Recipe.of(calibration), target, samples)
