"""What --tensors quantizable leaves out, and that nothing is lost by it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

import quantkit as qk
from quantkit.core.ranges import TensorRange
from quantkit.formats.tensorrt_cache import parse_cache
from quantkit.graph.fused import fused_outputs, with_fused
from quantkit.graph.graph import Graph
from quantkit.targets.onnxruntime.target import OnnxRuntime
from tests.conftest import Quantkit, tiny_model

RNG = np.random.default_rng(4)
CONV = ("Conv", ["x", "w"], "conv")
NORM = ("BatchNormalization", ["conv", "g", "b", "m", "v"], "norm")
Node = tuple[str, list[str], str]


def graph_of(*nodes: Node, outputs: tuple[str, ...] = ()) -> onnx.ModelProto:
    """A model of input x (N, 16, 8, 8); its last node's output is given, and ``outputs`` too."""
    made = [helper.make_node(kind, inputs, [output], name=output) for kind, inputs, output in nodes]

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array((RNG.standard_normal(shape) / 4).astype(np.float32), name)

    constants = [weight("w", 16, 16, 1, 1), weight("w2", 16, 16, 1, 1), weight("m", 16), weight("b", 16)]
    constants += [numpy_helper.from_array(np.full(16, v, np.float32), n) for n, v in {"g": 20.0, "v": 0.3}.items()]
    constants += [numpy_helper.from_array(np.float32(v), n) for n, v in {"zero": 0.0, "six": 0.6, "low": -0.2}.items()]
    used = {name for node in made for name in node.input}
    wanted = dict.fromkeys((*outputs, nodes[-1][2]))
    graph = helper.make_graph(
        made,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in wanted],
        [tensor for tensor in constants if tensor.name in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize(
    ("nodes", "fused"),
    [
        ((CONV, ("Relu", ["conv"], "y")), {"conv": "y"}),
        ((CONV, ("Clip", ["conv", "zero", "six"], "y")), {"conv": "y"}),
        ((CONV, NORM, ("Relu", ["norm"], "y")), {"conv": "y", "norm": "y"}),
        ((CONV, NORM), {"conv": "norm"}),
        ((CONV, ("Add", ["conv", "x"], "sum"), ("Relu", ["sum"], "y")), {"sum": "y"}),
        ((CONV, ("Sigmoid", ["conv"], "y")), {}),
        ((CONV, ("Relu", ["conv"], "r"), ("Sigmoid", ["conv"], "s"), ("Mul", ["r", "s"], "y")), {}),
        ((CONV, ("Relu", ["conv"], "r"), ("Add", ["conv", "r"], "y")), {}),
        ((CONV, ("Mul", ["conv", "conv"], "y")), {}),
        ((CONV, ("MaxPool", ["conv"], "p"), ("Relu", ["p"], "y")), {}),
    ],
)
def test_what_only_feeds_its_activation_is_fused(nodes: tuple[Node, ...], fused: dict[str, str]) -> None:
    if any(kind == "MaxPool" for kind, _, _ in nodes):
        model = graph_of(*nodes)
        model.graph.node[1].attribute.append(helper.make_attribute("kernel_shape", [2, 2]))
    else:
        model = graph_of(*nodes)
    assert fused_outputs(Graph(model.graph)) == fused


def test_outputs_of_the_graph_are_not_fused() -> None:
    nodes = (CONV, NORM, ("Relu", ["norm"], "y"))
    assert fused_outputs(Graph(graph_of(*nodes, outputs=("conv",)).graph)) == {"norm": "y"}
    assert fused_outputs(Graph(graph_of(*nodes, outputs=("norm",)).graph)) == {"conv": "norm"}


def test_nothing_is_fused_beside_a_subgraph_that_may_take_anything() -> None:
    model = graph_of(CONV, ("Relu", ["conv"], "y"))
    branch = helper.make_graph(
        [helper.make_node("Identity", ["conv"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    model.graph.node.append(helper.make_node("If", ["flag"], ["z"], then_branch=branch, else_branch=branch))
    assert fused_outputs(Graph(model.graph)) == {}


UNFOLDED: dict[str, tuple[Node, ...]] = {
    "shared weight": (
        CONV,
        NORM,
        ("Relu", ["norm"], "r"),
        ("Conv", ["r", "w"], "second"),
        ("Relu", ["second"], "y"),
    ),
    "transposed": (("ConvTranspose", ["x", "w"], "conv"), NORM, ("Relu", ["norm"], "y")),
    "computed mean": (
        CONV,
        ("ReduceMean", ["x"], "mean"),
        ("BatchNormalization", ["conv", "g", "b", "mean", "v"], "norm"),
        ("Relu", ["norm"], "y"),
    ),
}


@pytest.mark.parametrize("case", UNFOLDED)
def test_a_batch_norm_that_is_not_folded_keeps_its_convs_range(case: str) -> None:
    assert "conv" not in fused_outputs(Graph(graph_of(*UNFOLDED[case]).graph))


def test_a_fused_tensor_takes_the_range_of_what_it_becomes_unless_it_has_its_own() -> None:
    graph = Graph(graph_of(CONV, NORM, ("Relu", ["norm"], "y")).graph)
    after, own = TensorRange(2.0, 0.0, 2.0), TensorRange(3.0, -3.0, 1.0)
    assert with_fused(graph, {"y": after}) == {"conv": after, "norm": after, "y": after}
    assert with_fused(graph, {"y": after, "norm": own}) == {"conv": after, "norm": own, "y": after}
    assert with_fused(graph, {"x": own}) == {"x": own}


def calibrated(model: onnx.ModelProto, folder: Path, data: Path) -> tuple[qk.Calibration, qk.Calibration]:
    """With all tensors, and with the quantizable ones."""
    onnx.save(model, folder / "model.onnx")
    every, fewer = (
        qk.calibrate(folder / "model.onnx", data, tensors=tensors, output=folder / tensors, method="minmax")
        for tensors in ("all", "quantizable")
    )
    return every, fewer


def quantized(calibration: qk.Calibration, target: str) -> onnx.ModelProto:
    (artifact,) = qk.export(calibration, target)
    return onnx.load(artifact.path)


def nodes_of(model: onnx.ModelProto) -> list[tuple[str, str, tuple[str, ...]]]:
    return sorted((node.op_type, node.name, tuple(node.input)) for node in model.graph.node)


def scales_of(model: onnx.ModelProto) -> dict[str, float]:
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    return {name: float(array) for name, array in tensors.items() if name.endswith("_scale") and array.size == 1}


def test_the_tiny_model_is_calibrated_with_three_tensors_less_and_quantized_the_same(
    tmp_path: Path, images: Path
) -> None:
    every, fewer = calibrated(tiny_model(), tmp_path, images)
    assert set(every.tensors) - set(fewer.tensors) == {"conv1", "bn1", "add"}
    assert list(fewer.tensors) == [name for name in every.tensors if name in fewer.tensors]
    for name, tensor in fewer.tensors.items():
        # Not to the bit: onnxruntime fuses Conv and BatchNormalization where nobody asks for what lies between.
        for end in ("amax", "low", "high"):
            assert getattr(tensor, end) == pytest.approx(getattr(every.tensors[name], end), rel=1e-5, abs=1e-6)
    for target in ("onnxruntime", "tensorrt"):
        a, b = quantized(every, target), quantized(fewer, target)
        assert nodes_of(a) == nodes_of(b)
        assert scales_of(a) == pytest.approx(scales_of(b), rel=1e-5)


@pytest.mark.parametrize("target", ["onnxruntime", "tensorrt"])
@pytest.mark.parametrize(
    "case",
    [
        pytest.param((CONV, ("Clip", ["conv", "zero", "six"], "y")), id="clip"),
        pytest.param((CONV, ("Clip", ["conv", "low", "six"], "y")), id="clip below zero"),
        pytest.param((CONV, NORM, ("Relu", ["norm"], "r"), ("Conv", ["r", "w2"], "y")), id="norm"),
        pytest.param(
            (CONV, ("Conv", ["x", "w2"], "c"), ("Add", ["conv", "c"], "s"), ("Relu", ["s"], "y")), id="two convs"
        ),
        *(pytest.param(nodes, id=name) for name, nodes in UNFOLDED.items() if name != "computed mean"),
    ],
)
def test_the_same_nodes_are_quantized_and_as_well(tmp_path: Path, target: str, case: tuple[Node, ...]) -> None:
    inputs = RNG.standard_normal((8, 16, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", inputs)
    every, fewer = calibrated(graph_of(*case), tmp_path, tmp_path / "x.npy")
    assert len(fewer.tensors) < len(every.tensors)
    a, b = quantized(every, target), quantized(fewer, target)
    assert nodes_of(a) == nodes_of(b)
    scales, others = scales_of(a), scales_of(b)
    fused = fused_outputs(Graph(onnx.load(tmp_path / "model.onnx").graph))
    for name, scale in scales.items():
        # A fused tensor's own range is wider than what its activation lets through; then its scale may be smaller.
        assert others[name] <= scale * 1.001 if name.removesuffix("_scale") in fused else True
        assert others[name] == pytest.approx(scale, rel=1e-3) or name.removesuffix("_scale") in fused
    exact = InferenceSession(tmp_path / "model.onnx").run(None, {"x": inputs})[0]
    losses = [np.abs(InferenceSession(m.SerializeToString()).run(None, {"x": inputs})[0] - exact).max() for m in (a, b)]
    assert losses[1] <= 1.5 * losses[0] + 1e-6
    assert losses[1] < 0.2 * np.abs(exact).max()


@pytest.mark.parametrize("target", ["onnxruntime", "tensorrt"])
@pytest.mark.parametrize("pattern", ["relu1", "bn1", "conv1", "relu2"])
def test_exclusions_leave_the_same_nodes_out(tmp_path: Path, images: Path, target: str, pattern: str) -> None:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    found = []
    for tensors in ("all", "quantizable"):
        calibration = qk.calibrate(
            tmp_path / "tiny.onnx", images, tensors=tensors, exclude=[pattern], output=tmp_path / tensors
        )
        found.append(nodes_of(quantized(calibration, target)))
    assert found[0] == found[1]


def test_int8_runs_from_a_quantizable_calibration(tmp_path: Path, images: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    calibration = qk.calibrate(tmp_path / "tiny.onnx", images, tensors="quantizable", output=tmp_path / "run")
    (artifact,) = qk.export(calibration, "onnxruntime")
    session = OnnxRuntime().load(artifact, "CPU")
    assert session.executed_precision == "int8 2, f32 1"  # the last Gemm has 3 columns
    inputs = {"input": RNG.standard_normal((9, 3, 16, 16)).astype(np.float32)}
    (exact,) = InferenceSession(tmp_path / "tiny.onnx").run(None, inputs)
    assert np.abs(session.infer(inputs)["logits"] - exact).max() < 0.1 * np.abs(exact).max()


def test_tensorrts_cache_is_said_to_lack_what_was_left_out(
    tmp_path: Path, images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    every, fewer = calibrated(tiny_model(), tmp_path, images)
    (whole,) = qk.export(every, "tensorrt")
    assert whole.notes == ()
    assert "calibration.cache" not in caplog.text
    (lacking,) = qk.export(fewer, "tensorrt")
    (note,) = lacking.notes
    assert "calibration.cache and dynamic_ranges.txt lack 3 tensors (" in note
    assert "calibrate all tensors (--tensors, tensors=)" in note
    assert note in caplog.text
    _, cached = parse_cache((lacking.path.parent / "calibration.cache").read_text(), "cache")
    assert set(cached) == set(fewer.tensors)
    caplog.clear()
    (again,) = qk.export(fewer, "tensorrt")  # nothing is written, and it still lacks them
    assert again.notes == lacking.notes
    assert note in caplog.text


def test_what_was_excluded_is_not_said_to_be_lacking(tmp_path: Path, images: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    for tensors, lack in (("all", 0), ("quantizable", 1)):
        calibration = qk.calibrate(
            tmp_path / "tiny.onnx", images, tensors=tensors, exclude=["*1"], output=tmp_path / tensors
        )
        (artifact,) = qk.export(calibration, "tensorrt")
        assert len(artifact.notes) == lack
        assert all("lack 1 tensors (add)" in note for note in artifact.notes)


def test_on_the_command_line(invoked: Quantkit, model_path: Path, images: Path) -> None:
    made = invoked("calibrate", model_path, "--data", images, "--tensors", "quantizable", "-o", "out", "--json")
    assert made.returncode == 0, made.stderr
    assert "conv1" not in json.loads(made.stdout)["tensors"]
    assert "calibrate all tensors (--tensors, tensors=)" in " ".join(made.stderr.split())
    wrong = invoked("calibrate", model_path, "--data", images, "--tensors", "most")
    assert wrong.returncode == 2
    assert "quantizable" in wrong.stderr
