"""Every kind of output is compared as far as it can be, with the user's FP32 model, and the worst part is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto

import quantkit as qk
from quantkit.core.comparison import Comparison, OutputError, Row
from quantkit.core.errors import NothingEvaluated
from quantkit.gates import Rule, gate
from tests.graphs.shapes import FLOAT, constant, model, node, voice, weight

RNG = np.random.default_rng(11)
VECTORS = RNG.standard_normal((100, 16)).astype(np.float32)
IMAGES = RNG.standard_normal((100, 3, 12, 12)).astype(np.float32)
CPU = ("onnxruntime", "openvino")


def compared(
    folder: Path, proto: onnx.ModelProto, data: Any, targets: Any = CPU, samples: int = 20, **options: Any
) -> Comparison:
    if "openvino" in targets:
        pytest.importorskip("openvino")
    onnx.save(proto, folder / "m.onnx")
    found = qk.calibrate(folder / "m.onnx", data, output=folder / "run")
    quick = {"rounds": 1, "seconds": 0.05}
    return qk.compare(found, data, precisions=["int8"], targets=list(targets), samples=samples, **quick, **options)


def int8(comparison: Comparison) -> list[Row]:
    return [row for row in comparison.rows if row.precision == "int8"]


def named(row: Row) -> dict[str, OutputError]:
    return {error.name: error for error in row.outputs}


def two_layers(*more: onnx.NodeProto, outputs: list[tuple[str, int, Any]], classes: int = 5) -> onnx.ModelProto:
    nodes = [
        node("Gemm", ["x", "w"], ["h"], transB=1),
        node("Relu", ["h"], ["r"]),
        node("Gemm", ["r", "v"], ["g"], transB=1),
        *more,
    ]
    inits = [weight("w", 32, 16), weight("v", classes, 32), constant("two", [2], np.int64), constant("zero", 0.0)]
    return model(nodes, [("x", FLOAT, ["N", 16])], outputs, inits)


def test_integers_scalars_and_outputs_on_the_way_are_compared(tmp_path: Path) -> None:
    proto = two_layers(
        node("ArgMax", ["g"], ["best"], axis=1, keepdims=0),
        node("TopK", ["g", "two"], ["values", "places"]),
        node("Greater", ["g", "zero"], ["positive"]),
        node("ReduceMean", ["g"], ["mean"], keepdims=0),
        outputs=[
            ("g", FLOAT, ["N", 5]),
            ("r", FLOAT, ["N", 32]),
            ("best", TensorProto.INT64, ["N"]),
            ("places", TensorProto.INT64, ["N", 2]),
            ("positive", TensorProto.BOOL, ["N", 5]),
            ("mean", FLOAT, []),
        ],
    )
    for row in int8(compared(tmp_path, proto, VECTORS)):
        errors = named(row)
        assert set(errors) == {"g", "r", "best", "places", "positive", "mean"}
        assert all((errors[name].equal or 0) > 0.8 for name in ("best", "places", "positive"))
        assert all(errors[name].has_sqnr for name in ("g", "r", "mean"))
        assert row.layer_errors


def test_a_model_of_integers_alone_has_no_sqnr_and_no_gate_passes_on_it(tmp_path: Path) -> None:
    proto = two_layers(
        node("ArgMax", ["g"], ["best"], axis=1, keepdims=0), outputs=[("best", TensorProto.INT64, ["N"])]
    )
    comparison = compared(tmp_path, proto, VECTORS, ["onnxruntime"])
    (row,) = int8(comparison)
    assert row.sqnr_db is None
    assert not row.has_sqnr
    for metric in ("sqnr_db", "worst_part_sqnr_db", "agreement"):
        result = gate(comparison, [Rule(metric=metric, min=0.5)])
        assert result.exit_code == NothingEvaluated.exit_code


def selecting(what: str) -> tuple[onnx.ModelProto, npt.NDArray[np.float32]]:
    """Models whose outputs' sizes depend on the data."""
    if what == "NonMaxSuppression":
        nodes = [
            node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("Relu", ["c"], ["r"]),
            node("Conv", ["r", "wb"], ["b4"]),
            node("Conv", ["r", "ws"], ["s4"]),
            node("Reshape", ["b4", "rows"], ["b3"]),
            node("Transpose", ["b3"], ["boxes"], perm=[0, 2, 1]),
            node("Reshape", ["s4", "one"], ["scores"]),
            node("NonMaxSuppression", ["boxes", "scores", "most", "overlap", "least"], ["y"]),
        ]
        inits = [
            weight("w", 8, 3, 3, 3),
            weight("wb", 4, 8, 1, 1),
            weight("ws", 1, 8, 1, 1),
            constant("rows", [1, 4, 144], np.int64),
            constant("one", [1, 1, 144], np.int64),
            constant("most", [50], np.int64),
            constant("overlap", [0.5]),
            constant("least", [0.5]),
        ]
        outputs = [("y", TensorProto.INT64, ["K", 3]), ("boxes", FLOAT, [1, 144, 4])]
        return model(nodes, [("x", FLOAT, [1, 3, 12, 12])], outputs, inits), IMAGES
    nodes = [
        node("Gemm", ["x", "w"], ["h"], transB=1),
        node("Relu", ["h"], ["r"]),
        node("Gemm", ["r", "v"], ["g"], transB=1),
    ]
    inits = [weight("w", 32, 16), weight("v", 40, 32), constant("zero", 0.0), constant("flat", [-1], np.int64)]
    if what == "NonZero":
        nodes.append(node("NonZero", ["r"], ["y"]))
        return model(nodes, [("x", FLOAT, [1, 16])], [("y", 7, [2, "K"]), ("g", FLOAT, [1, 40])], inits), VECTORS
    nodes += [
        node("Greater", ["g", "zero"], ["positive"]),
        node("Reshape", ["positive", "flat"], ["chosen"]),
        node("Compress", ["g", "chosen"], ["y"]),
    ]
    return model(nodes, [("x", FLOAT, [1, 16])], [("y", FLOAT, ["K"])], inits), VECTORS


@pytest.mark.parametrize("what", ["NonMaxSuppression", "NonZero", "Compress"])
def test_samples_of_another_size_are_left_out_and_that_is_said(tmp_path: Path, what: str) -> None:
    proto, data = selecting(what)
    comparison = compared(tmp_path, proto, data, ["onnxruntime"], samples=100)
    (row,) = int8(comparison)
    error = named(row)["y"]
    assert error.left_out > 0
    assert any(
        "another size" in warning and f"y in {error.left_out} samples" in warning for warning in comparison.warnings
    )


def head(scores: float = 1.0) -> onnx.ModelProto:
    """A detector's head: boxes in pixels and scores, joined."""
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"]),
        node("Conv", ["r", "wb"], ["b"]),
        node("Sigmoid", ["b"], ["b1"]),
        node("Mul", ["b1", "pixels"], ["boxes"]),
        node("Conv", ["r", "ws"], ["s"]),
        node("Sigmoid", ["s"], ["s1"]),
        node("Mul", ["s1", "small"], ["scores"]),
        node("Concat", ["boxes", "scores"], ["both"], axis=1),
        node("Reshape", ["both", "rows"], ["y"]),
    ]
    inits = [
        weight("w", 8, 3, 3, 3),
        weight("wb", 4, 8, 1, 1),
        weight("ws", 3, 8, 1, 1),
        constant("pixels", 640.0),
        constant("small", scores),
        constant("rows", [0, 7, -1], np.int64),
    ]
    return model(nodes, [("x", FLOAT, ["N", 3, 12, 12])], [("y", FLOAT, ["N", 7, 144])], inits)


def test_parts_that_a_concat_joins_have_their_own_sqnr(tmp_path: Path) -> None:
    comparison = compared(tmp_path, head(), IMAGES)
    for row in int8(comparison):
        errors = named(row)
        assert set(errors) == {"y", "y, part boxes", "y, part scores"}
        assert row.worst_part is not None
        noisy = [w for w in comparison.warnings if f"{row.target} INT8" in w and "y, part" in w]
        assert bool(noisy) == (row.worst_part.sqnr_db is not None and row.worst_part.sqnr_db < 15)
    assert comparison.rows[0].agreement is None  # boxes and scores are no classes


def test_the_sqnr_of_a_part_is_that_of_its_values(tmp_path: Path) -> None:
    import onnxruntime as ort

    comparison = compared(tmp_path, head(0.01), IMAGES, ["onnxruntime"], samples=20)
    files = [tmp_path / "m.onnx", tmp_path / "run/artifacts/onnxruntime/int8/model.onnx"]
    sessions = [ort.InferenceSession(str(file), providers=["CPUExecutionProvider"]) for file in files]
    chosen = qk.load_comparison(tmp_path / "run")
    assert chosen.samples == 20
    indices = np.random.default_rng(0).permutation(100)[:20]
    reference, own = (np.concatenate([s.run(None, {"x": IMAGES[[i]]})[0] for i in indices]) for s in sessions)
    errors = named(int8(comparison)[0])
    for name, part in {"boxes": slice(0, 4), "scores": slice(4, 7)}.items():
        signal, noise = (reference[:, part] ** 2).sum(), ((reference - own)[:, part] ** 2).sum()
        assert errors[f"y, part {name}"].sqnr_db == pytest.approx(10 * np.log10(signal / noise), abs=0.05)


def test_channels_of_another_magnitude_are_parts(tmp_path: Path) -> None:
    scales = np.array([600.0] * 4 + [0.5] * 3).reshape(1, 7, 1)
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Reshape", ["c", "rows"], ["r"]),
        node("Mul", ["r", "scales"], ["y"]),
    ]
    inits = [weight("w", 7, 3, 1, 1), constant("rows", [0, 7, -1], np.int64), constant("scales", scales)]
    proto = model(nodes, [("x", FLOAT, ["N", 3, 12, 12])], [("y", FLOAT, ["N", 7, 144])], inits)
    (row,) = int8(compared(tmp_path, proto, IMAGES, ["onnxruntime"]))
    assert [error.part for error in row.outputs] == ["", "0–3 of axis 1", "4–6 of axis 1"]


def test_a_runtime_whose_fp32_differs_is_named_and_its_right_int8_is_not_called_noise(tmp_path: Path) -> None:
    """OpenVINO reads a Softmax of opset 11 over four dimensions as one of opset 13."""
    nodes = [
        node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        node("Softmax", ["c"], ["s"], axis=1),
        node("Mul", ["s", "k"], ["m"]),
        node("Conv", ["m", "v"], ["y"]),
    ]
    inits = [weight("w", 8, 3, 3, 3), weight("v", 4, 8, 1, 1), constant("k", 1000.0)]
    proto = model(nodes, [("x", FLOAT, ["N", 3, 12, 12])], [("y", FLOAT, ["N", 4, 12, 12])], inits, opset=11)
    comparison = compared(tmp_path, proto, IMAGES, ["openvino"])
    named_rows = [warning for warning in comparison.warnings if "computes this model otherwise" in warning]
    assert len(named_rows) == 1
    assert "openvino" in named_rows[0]
    fp32, quantized = comparison.rows
    assert fp32.sqnr_db is None
    assert (fp32.outputs[0].sqnr_db or 0) < 0
    assert not any("noise" in warning for warning in comparison.warnings) or (quantized.sqnr_db or 0) < 3


def test_states_scalars_and_the_threshold_of_a_voice_detector(tmp_path: Path) -> None:
    data = {
        "input": VECTORS.repeat(2, axis=1),
        "state": RNG.standard_normal((100, 2, 8)).astype(np.float32),
        "sr": np.int64(16000),
    }
    comparison = compared(tmp_path, voice(), data, batch_sizes=[1, 4])
    assert comparison.answers == "output output above 0.5"
    assert {row.batch for row in comparison.rows} == {1, 4}
    for row in int8(comparison):
        assert row.agreement is not None
        assert row.agreement > 0.9
        assert {error.output for error in row.outputs} == {"output", "stateN"}


def test_labels_that_no_output_is_known_to_answer_are_not_dropped_in_silence(tmp_path: Path) -> None:
    proto = two_layers(
        node("Tanh", ["g"], ["a"]), node("Sin", ["g"], ["b"]), outputs=[("a", FLOAT, ["N", 5]), ("b", FLOAT, ["N", 5])]
    )
    data = {"x": VECTORS, "labels": np.arange(100) % 5}
    comparison = compared(tmp_path, proto, data, ["onnxruntime"])
    assert any("labels are not used" in warning and "--task-output" in warning for warning in comparison.warnings)
    named_one = qk.compare(
        qk.load_calibration(tmp_path / "run"), data, targets=["onnxruntime"], task_output="b", rounds=1, seconds=0.05
    )
    assert "top1" in named_one.rows[0].metrics
    assert named_one.answers == "the best class of output b"


def test_time_steps_and_thresholds_are_said_on_the_command_line(tmp_path: Path, invoked: Any) -> None:
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("MatMul", ["r", "v"], ["y"])]
    proto = model(
        nodes, [("x", FLOAT, ["N", 6, 16])], [("y", FLOAT, ["N", 6, 7])], [weight("w", 16, 32), weight("v", 32, 7)]
    )
    onnx.save(proto, tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=RNG.standard_normal((100, 6, 16)).astype(np.float32))
    assert invoked("calibrate", "m.onnx", "--data", "x.npz", "-o", "run", "--no-export").returncode == 0
    common = (
        "compare",
        "run",
        "--data",
        "x.npz",
        "--target",
        "onnxruntime",
        "--samples",
        "9",
        "--json",
        "--rounds",
        "1",
    )
    for more, answered in ((), False), (("--task-axis", "-1"), True), (("--threshold", "0.1"), True):
        done = invoked(*common, "--seconds", "0.05", *more)
        assert done.returncode == 0, done.stderr
        found = Comparison.model_validate_json(done.stdout)
        assert all((row.agreement is not None) == answered for row in found.rows)
        assert bool(found.answers) == answered
        judged = invoked("gate", "run", "--min-agreement", "10")
        assert judged.returncode == (0 if answered else 5)
    assert invoked(*common, "--task-output", "nosuch").returncode == 2
