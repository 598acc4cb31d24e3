"""An IR computes with dynamic shapes, as it is delivered, what it computes with fixed ones, as it is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import quantkit as qk
from quantkit.core.ranges import TensorRange
from quantkit.datasets import Batch
from quantkit.pipeline.comparison.delivered import delivery_warnings
from tests.graphs.shapes import FLOAT, model, node, weight

ov = pytest.importorskip("openvino")

from quantkit.targets.openvino.delivery import delivered, differs  # noqa: E402  (needs openvino)

RNG = np.random.default_rng(6)
IMAGES = RNG.standard_normal((100, 3, 12, 12)).astype(np.float32)


def shared_layer(kept: str, batch: Any = "N") -> onnx.ModelProto:
    """Two Convs; the first one's output, or what follows it, is an output of the model, too."""
    nodes = [
        node("Conv", ["x", "w0"], ["c0"], pads=[1] * 4),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1", *(["b1"] if kept == "with bias" else [])], ["c1"], pads=[1] * 4),
        node("Relu", ["c1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["y"]),
    ]
    if kept == "behind a Sigmoid":
        nodes.append(node("Sigmoid", ["c1"], ["more"]))
    elif kept == "behind a Reshape":
        nodes.append(node("Flatten", ["c1"], ["more"]))
    more = "more" if kept.startswith("behind") else "r1" if kept == "the ReLU's" else "c1"
    outputs: list[tuple[str, int, Any]] = [("y", FLOAT, [batch, 4, 12, 12])]
    if kept != "nothing":
        outputs.append((more, FLOAT, None))
    inits = [weight("w0", 8, 3, 3, 3), weight("w1", 8, 8, 3, 3), weight("b1", 8), weight("w2", 4, 8, 1, 1)]
    return model(nodes, [("x", FLOAT, [batch, 3, 12, 12])], outputs, inits)


KEPT = ["nothing", "itself", "with bias", "the ReLU's", "behind a Sigmoid", "behind a Reshape"]


def run(path: Path, feed: Any, fixed: bool) -> list[Any]:
    own = ov.Core().read_model(str(path))
    if fixed:
        own.reshape({0: list(feed.shape)})
    compiled = ov.Core().compile_model(own, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.array(value) for value in compiled({0: feed}).values()]


@pytest.mark.parametrize("kept", KEPT)
def test_the_delivered_ir_computes_what_is_measured(tmp_path: Path, kept: str) -> None:
    onnx.save(shared_layer(kept), tmp_path / "m.onnx")
    found = qk.calibrate(tmp_path / "m.onnx", IMAGES, output=tmp_path / "run")
    (artifact,) = qk.export(found, "openvino")
    for batch in (1, 3):
        feed = IMAGES[:batch]
        reference = run(tmp_path / "m.onnx", feed, fixed=False)
        for outputs in (run(artifact.path, feed, fixed=False), run(artifact.path, feed, fixed=True)):
            for expected, value in zip(reference, outputs, strict=True):
                noise = ((expected - value) ** 2).sum() / (expected**2).sum()
                assert 10 * np.log10(noise) < -20


def test_outputs_keep_their_names_and_order(tmp_path: Path) -> None:
    onnx.save(shared_layer("itself"), tmp_path / "m.onnx")
    found = qk.calibrate(tmp_path / "m.onnx", IMAGES, output=tmp_path / "run")
    (artifact,) = qk.export(found, "openvino")
    own = ov.Core().read_model(str(artifact.path))
    assert [value.any_name for value in own.outputs] == ["y", "c1"]
    comparison = qk.compare(found, IMAGES[:10], targets=["openvino"], precisions=["int8"], rounds=1, seconds=0.05)
    assert not any("as delivered" in warning for warning in comparison.warnings)
    assert {error.output for error in comparison.rows[1].outputs} == {"y", "c1"}


def test_what_no_workaround_mends_is_delivered_with_a_batch_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quantkit.targets.openvino import delivery

    onnx.save(shared_layer("nothing"), tmp_path / "m.onnx")
    monkeypatch.setattr(delivery, "differs", lambda model, ranges: True)
    own, notes = delivered(ov.Core().read_model(str(tmp_path / "m.onnx")), {})
    assert [list(value.shape) for value in own.inputs] == [[1, 3, 12, 12]]
    assert "fixed at 1" in notes[0]


def test_models_that_cannot_be_tried_are_left_alone(tmp_path: Path) -> None:
    """A Reshape to a fixed number of values takes no other size than the one that it was made for."""
    nodes = [node("Reshape", ["x", "flat"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    shape = onnx.numpy_helper.from_array(np.array([1, 48], np.int64), "flat")
    proto = model(nodes, [("x", FLOAT, ["N", 3, "H", "W"])], [("y", FLOAT, [1, 4])], [shape, weight("w", 48, 4)])
    onnx.save(proto, tmp_path / "m.onnx")
    assert not differs(ov.Core().read_model(str(tmp_path / "m.onnx")), {"x": TensorRange(1.0, -1.0, 1.0)})


class Delivered:
    """A session whose file, as it is, computes ``factor`` times what is measured."""

    executed_precision = "int8"

    def __init__(self, factor: float | None) -> None:
        self.factor = factor

    def infer(self, inputs: Any) -> dict[str, Any]:
        return {"y": inputs["x"] * 2}

    def as_delivered(self, inputs: Any) -> dict[str, Any] | None:
        return None if self.factor is None else {"y": inputs["x"] * 2 * self.factor}


@pytest.mark.parametrize(("factor", "told"), [(None, False), (1.0, False), (1.01, False), (0.0, True), (2.0, True)])
def test_compare_says_what_differs_as_delivered(factor: float | None, told: bool) -> None:
    from quantkit.core.artifact import Artifact
    from quantkit.pipeline.comparison.candidates import Candidate
    from quantkit.targets.openvino import OpenVino

    artifact = Artifact("openvino", "int8", (Path("model.xml"),))
    candidate = Candidate(OpenVino(), artifact, Delivered(factor), "CPU", "qdq", None, Path())  # type: ignore[arg-type]
    found = delivery_warnings([candidate], Batch({"x": IMAGES[:1]}, [0]), None)
    assert bool(found) == told
