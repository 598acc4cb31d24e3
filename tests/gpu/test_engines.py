"""Engines of the demo's model on a GPU: every way to INT8, reuse, refusals, and the verbs around them."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

import quantkit as qk
from quantkit.core.calibration import Calibration
from quantkit.core.cuda import free_memory
from quantkit.core.errors import BackendMissing, BadInput, TargetRefuses
from quantkit.core.recipe import Recipe
from quantkit.demo.digits import load_split, upscale
from quantkit.formats.tensorrt_cache import ENTROPY, MINMAX, cache_text
from quantkit.graph.model_file import open_model
from quantkit.pipeline.run_directory import ARTIFACTS
from quantkit.pipeline.run_files import load_calibration, save_calibration
from quantkit.targets.tensorrt import TensorRT
from quantkit.targets.tensorrt.engine import builder, cuda
from quantkit.targets.tensorrt.engine.builder import Job
from quantkit.targets.tensorrt.engine.libraries import TENSORRT
from quantkit.targets.tensorrt.engine.network import parsed
from quantkit.targets.tensorrt.engine.plan import BuildSettings, Plan, plan_for
from quantkit.targets.tensorrt.engine.record import ENGINE_RECORD, EngineRecord
from quantkit.targets.tensorrt.engine.session import EngineSession
from quantkit.targets.tensorrt.engine.shapes import profiles_for
from tests.conftest import Quantkit
from tests.gpu.calibrator import engine_of_a_calibrator
from tests.gpu.conftest import built
from tests.graphs.vision_transformer import transformer_model
from tests.targets.tensorrt.building import building, is_running

FAST = {"optimization_level": 1}
LEVELS, MEAN, STD = 255, np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
X = ((np.asarray(upscale(load_split("eval")[0][0]).convert("RGB")) / LEVELS - MEAN) / STD).transpose(2, 0, 1)
X = np.ascontiguousarray(X[None], np.float32)  # one of the demo's images


def input_of(calibration: Calibration) -> str:
    return open_model(Path(calibration.model.path)).inputs[0].name


def sqnr(calibration: Calibration, outputs: dict[str, np.ndarray], batch: np.ndarray = X) -> float:
    reference = ort.InferenceSession(calibration.model.path).run(None, {input_of(calibration): batch})[0]
    got = next(iter(outputs.values()))
    return float(10 * np.log10((reference**2).sum() / (((reference - got) ** 2).sum() + 1e-20)))


@pytest.mark.parametrize(
    ("precision", "mode", "least_db"),
    [
        ("fp32", "auto", 80),
        ("tf32", "auto", 45),
        ("fp16", "auto", 40),
        ("int8", "implicit", 20),
        ("int8", "explicit", 20),
    ],
)
def test_outputs_stay_close_to_fp32(
    digits: Calibration, precision: str, mode: str, least_db: float, record_property: Any
) -> None:
    engine = built(digits, [precision], mode=mode, **FAST)[0]
    session = TensorRT().load(engine.artifact, "cuda:0")
    decibels = sqnr(digits, session.infer({input_of(digits): X}))
    record_property(f"{' '.join(['digits', precision, engine.record.mode]).strip()}: SQNR dB", round(decibels, 1))
    assert decibels > least_db
    assert ("int8" in session.executed_precision) == (precision == "int8")
    assert ("f16" in session.executed_precision) <= (precision in ("fp16", "int8"))
    assert session.memory_bytes >= 0
    assert engine.record.where.gpu == session.device_name
    assert engine.record.layers


def test_tf32_is_told_from_fp32(digits: Calibration) -> None:
    """FP32 rounds no product: its outputs are nearer to onnxruntime's than TF32's by far."""
    exact, rounded = (
        sqnr(digits, TensorRT().load(engine.artifact, "cuda:0").infer({input_of(digits): X}))
        for engine in built(digits, ["fp32", "tf32"], **FAST)
    )
    assert exact > rounded + 10


def test_implicit_mode_finds_a_range_for_every_tensor(digits: Calibration) -> None:
    engine = built(digits, ["int8"], mode="implicit", **FAST)[0]
    assert engine.record.without_range == ()


@pytest.mark.parametrize("mode", ["implicit", "explicit"])
def test_excluded_layers_stay_in_floating_point(digits: Calibration, runs: Path, mode: str) -> None:
    graph = open_model(Path(digits.model.path)).graph_only.graph
    conv = [node for node in graph.node if node.op_type == "Conv"][1]
    folder = runs / f"excluded-{mode}"
    save_calibration(digits.model_copy(update={"exclude": (conv.name or conv.output[0],)}), folder)
    # With dynamic ranges TensorRT takes INT8 where it is faster, which no layer of this size is for certain at batch 1.
    engine = built(load_calibration(folder), ["int8"], (1024, 1), mode=mode, **FAST)[0]
    own = [layer for layer in engine.record.layers if (conv.name or conv.output[0]) in layer.name]
    own = [layer for layer in own if "conv" in layer.kind.lower() or "gemm" in layer.kind.lower()]
    assert own
    assert all(layer.precision != "int8" for layer in own)
    assert "int8" in engine.record.executed_precision  # the others are quantized
    assert sqnr(digits, TensorRT().load(engine.artifact, "cuda:0").infer({input_of(digits): X})) > 20


class TestCache:
    """Our calibration cache in TensorRT's own hands."""

    @pytest.mark.parametrize("algorithm", [ENTROPY, MINMAX])
    def test_is_accepted_without_recalibration(self, digits: Calibration, algorithm: str) -> None:
        amax = {name: tensor.amax for name, tensor in digits.ranges.items()}
        text = cache_text(amax, TENSORRT.version(), algorithm)
        plan, asked = engine_of_a_calibrator(digits, algorithm, text, level=0)
        assert plan is not None
        assert not asked
        session = EngineSession(bytes(plan), "cached")
        session.layers = session.inspect()
        assert sqnr(digits, session.infer({input_of(digits): X})) > 20

    @pytest.mark.parametrize(("version", "algorithm"), [("8.4.1", ENTROPY), ("10.3", ENTROPY), ("8.6.0", MINMAX)])
    def test_what_becomes_of_another_header(
        self, digits: Calibration, version: str, algorithm: str, record_property: Any
    ) -> None:
        """Recorded, not promised: quantkit writes the header that fits, whatever TensorRT makes of another."""
        amax = {name: tensor.amax for name, tensor in digits.ranges.items()}
        text = cache_text(amax, version, algorithm)
        plan, asked = engine_of_a_calibrator(digits, ENTROPY, text, level=0)
        verdict = "refused" if plan is None else "calibrated anew" if asked else "taken as it is"
        record_property(f"EntropyCalibration2 calibrator, cache of {text.splitlines()[0]}", verdict)


def test_an_engine_is_built_once(digits: Calibration) -> None:
    first = built(digits, ["fp16"], **FAST)[0]
    before = first.artifact.path.stat().st_mtime_ns
    assert built(digits, ["fp16"], **FAST)[0].artifact.path.stat().st_mtime_ns == before
    assert (first.artifact.path.parents[1] / "timing.cache").stat().st_size > 0


def test_one_engine_for_several_shapes(digits: Calibration) -> None:
    name = input_of(digits)
    engine = built(digits, ["int8"], shapes=[f"{name}=1x3x64x64:4x3x64x64:8x3x64x64"], **FAST)[0]
    session = TensorRT().load(engine.artifact, "cuda:0")
    batch = np.concatenate([X, -X, X * 0.5, X * 0.1, X])
    whole = next(iter(session.infer({name: batch}).values()))
    single = next(iter(session.infer({name: X}).values()))
    assert whole.shape[0] == 5
    assert np.allclose(whole[0], single[0], atol=0.1 * np.abs(single).max())
    with pytest.raises(BadInput, match="No profile of"):
        session.infer({name: np.concatenate([batch, batch])})


def test_times_are_the_devices_own(digits: Calibration) -> None:
    session = TensorRT().load(built(digits, ["fp16"], **FAST)[0].artifact, "cuda:0")
    times = session.device_times({input_of(digits): X}, 50)
    assert len(times.compute) == len(times.with_copies) == 50
    assert all(0 < alone < whole for alone, whole in zip(times.compute, times.with_copies, strict=True))
    assert 0 < times.back_to_back < 2 * float(np.median(times.with_copies))
    assert len(times.graph) == 50
    assert 0 < float(np.median(times.graph)) < 1.1 * float(np.median(times.compute))
    layers = session.layer_times({input_of(digits): X}, 5)
    assert sum(layer.ms for layer in layers) > 0.5 * float(np.median(times.compute))
    assert {layer.precision for layer in layers} >= {"f16"}


class TestBadInput:
    """Each of them is one sentence on what is wrong and one on how to fix it."""

    @pytest.fixture
    def copy(self, digits: Calibration, tmp_path: Path) -> Path:
        """An engine and its record, to be damaged."""
        folder = built(digits, ["fp16"], **FAST)[0].artifact.path.parent
        shutil.copytree(folder, tmp_path / "engine")
        return tmp_path / "engine"

    def load(self, folder: Path) -> Any:
        from quantkit.targets.tensorrt.engine.session import load_engine

        return load_engine(folder / "model.engine", "cuda:0")

    @pytest.mark.parametrize(
        ("field", "value"), [("tensorrt", "8.5.3"), ("gpu", "NVIDIA A100-SXM4-80GB"), ("driver", "11.8")]
    )
    def test_an_engine_built_elsewhere(
        self, copy: Path, field: str, value: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        record = json.loads((copy / ENGINE_RECORD).read_text())
        record["where"][field] = value
        (copy / ENGINE_RECORD).write_text(json.dumps(record))
        if field == "driver":  # a newer driver runs it
            with caplog.at_level("INFO", logger="quantkit"):
                self.load(copy)
            assert f"driver for CUDA {value}, here" in caplog.text
            return
        with pytest.raises(TargetRefuses, match=f"{value}, here"):
            self.load(copy)

    def test_a_truncated_engine(self, copy: Path) -> None:
        path = copy / "model.engine"
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(BadInput, match="is not the engine that"):
            self.load(copy)

    def test_what_is_no_engine(self) -> None:
        with pytest.raises(TargetRefuses, match="TensorRT cannot load it"):
            EngineSession(b"ftrt" + bytes(3000), "it")

    def test_a_damaged_timing_cache_is_made_anew(self, digits: Calibration, tmp_path: Path) -> None:
        (tmp_path / "timing.cache").write_bytes(b"no timing cache" * 99)
        model = open_model(Path(digits.model.path))
        plan = plan_for("fp16", "auto", TENSORRT.interface())
        settings = BuildSettings(optimization_level=0)
        profiles = profiles_for(model, [], [1])
        made = builder.build(Job(model.path, plan, profiles, settings, timing_cache=tmp_path / "timing.cache"))
        assert made.plan
        assert made.timing_cache
        assert not made.timing_cache.startswith(b"no timing")

    def test_an_unsupported_operator_is_named_with_its_node(self, tmp_path: Path) -> None:
        nodes = [
            helper.make_node("Relu", ["x"], ["r"], name="first"),
            helper.make_node("Bernoulli", ["r"], ["y"], name="dice"),
        ]
        value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in ("x", "y")]
        graph = helper.make_graph(nodes, "g", value[:1], value[1:])
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), tmp_path / "m.onnx"
        )
        with pytest.raises(TargetRefuses, match=r"at node 'dice' \(Bernoulli\)"):
            parsed(TENSORRT.tensorrt().Builder(TENSORRT.messages()), tmp_path / "m.onnx", strong=False)

    def test_too_little_memory(self) -> None:
        with pytest.raises(BackendMissing, match="not enough memory"):
            cuda.Memory(1 << 45)
        assert free_memory() > 0  # the GPU is still usable

    def test_an_absent_device(self, digits: Calibration) -> None:
        engine = built(digits, ["fp16"], **FAST)[0]
        for device in ("cuda:99", "CPU", "cuda:"):
            with pytest.raises(BackendMissing, match="cuda:0"):
                TensorRT().load(engine.artifact, device)

    def test_strong_typing_before_it_was_there(self, digits: Calibration) -> None:
        if TENSORRT.interface() >= (10, 0):
            pytest.skip("this TensorRT has it")
        with pytest.raises(TargetRefuses, match="no strongly typed networks"):
            built(digits, ["int8"], mode="strong")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_build_within_two_seconds(digits: Calibration, number: signal.Signals) -> None:
    assert digits.folder is not None
    engines = digits.folder / ARTIFACTS / "tensorrt" / "engines"
    before = {path: path.stat().st_mtime_ns for path in engines.rglob("*")}
    options = ("--fresh", "--precision", "int8", *(o for n in range(1, 9) for o in ("--batch-size", str(n))))
    with building(digits.folder, *options, "--optimization-level", "5", seconds=5) as (process, builders):
        start = time.monotonic()
        process.send_signal(number)
        process.communicate(timeout=30)
        assert time.monotonic() - start < 2
    assert process.returncode == 128 + number
    assert not any(is_running(one) for one in builders)
    assert {path: path.stat().st_mtime_ns for path in engines.rglob("*")} == before


def test_the_fp16_artifact_is_a_model_that_tensorrt_parses(digits: Calibration, tmp_path: Path) -> None:
    """The file that strongly typed engines come from; TensorRT 8.6 has FP16 by flag, and the types in the network."""
    model = open_model(Path(digits.model.path))
    TensorRT().export(model, Recipe.of(digits), "fp16", tmp_path)
    network, parser = parsed(TENSORRT.tensorrt().Builder(TENSORRT.messages()), tmp_path / "model.onnx", strong=False)
    assert network.get_input(0).dtype == network.get_output(0).dtype == TENSORRT.tensorrt().float32
    del parser
    profiles = profiles_for(model, [], [1])
    plan = Plan("fp16", "", "fp16", half=True)
    made = builder.build(Job(tmp_path / "model.onnx", plan, profiles, BuildSettings(optimization_level=1)))
    session = EngineSession(made.plan, "typed")
    session.layers = session.inspect()
    assert "f16" in session.executed_precision
    assert sqnr(digits, session.infer({input_of(digits): X})) > 40


@pytest.mark.parametrize(("precision", "least"), [("fp32", 80), ("fp16", 40)])
def test_an_attention_that_is_unbound_is_right_at_each_batch(precision: str, least: float, tmp_path: Path) -> None:
    """TensorRT 8.6.0 computes it wrongly in a profile of one image if it reads the Split that PyTorch writes."""
    onnx.save(transformer_model(2, 32, unbound=True), tmp_path / "model.onnx")
    data = np.random.default_rng(0).standard_normal((8, 3, 32, 32)).astype(np.float32)
    calibration = qk.calibrate(tmp_path / "model.onnx", data, output=tmp_path / "run")
    session = TensorRT().load(built(calibration, [precision], (1, 8), **FAST)[0].artifact, "cuda:0")
    for batch in (data[:1], data):
        assert sqnr(calibration, session.infer({"input": batch}), batch) > least


def test_the_verbs(digits: Calibration, runs: Path, quantkit: Quantkit) -> None:
    assert digits.folder is not None
    done = quantkit("build", digits.folder, "--precision", "int8", "--optimization-level", 1, "--json")
    assert done.returncode == 0, done.stderr
    [engine] = json.loads(done.stdout)["engines"]
    EngineRecord.model_validate({key: value for key, value in engine.items() if key != "engine"})
    evaluation = runs / "digits-demo" / "imgs" / "eval"
    options = ("--target", "tensorrt", "--target", "onnxruntime", "--batch-size", 1, "--batch-size", 8)
    done = quantkit("compare", digits.folder, "--data", evaluation, *options, "--samples", 100, "--json")
    assert done.returncode == 0, done.stderr
    rows = [row for row in json.loads(done.stdout)["rows"] if row["target"] == "tensorrt"]
    assert [(row["precision"], row["batch"]) for row in rows] == [
        (precision, batch) for batch in (1, 8) for precision in ("fp32", "fp16", "int8")
    ]
    for row in rows:
        assert row["metrics"]["top1"]["value"] > 0.9
        assert row["latency_with_copies_ms"]["p50"] > row["latency_ms"]["p50"]
        assert row["gpu"]["sm_clock_mhz"] > 0
        assert row["gpu"]["power_w"] > 0
        assert bool(row["layers"]) == (row["batch"] == 1)
    assert "TF32 off" in rows[0]["notes"]
    page = (digits.folder / "report.html").read_text(encoding="utf-8")
    assert "Where the time goes" in page
    done = quantkit("doctor")
    assert "cuda:0" in done.stdout
