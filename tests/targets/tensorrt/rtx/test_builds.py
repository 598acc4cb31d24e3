"""Engines built for GPUs that are not here: what is in them, when they are built again, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

import quantkit as qk
from quantkit.cli.documents import BuildDocument
from quantkit.core.calibration import Calibration
from quantkit.core.errors import BackendMissing, BadConfig, TargetRefuses
from quantkit.targets.base import Engine
from quantkit.targets.tensorrt.engine import child, process
from quantkit.targets.tensorrt.engine.builder import Job
from quantkit.targets.tensorrt.engine.libraries import RTX
from quantkit.targets.tensorrt.engine.plan import BuildSettings, Plan
from quantkit.targets.tensorrt.engine.process import Finished, Wanted, run_builds
from quantkit.targets.tensorrt.engine.record import ENGINE_RECORD, AheadOfTime, EngineRecord
from quantkit.targets.tensorrt.engine.session import EngineSession
from quantkit.targets.tensorrt.engine.shapes import ShapeRange, profiles_for
from tests.conftest import Quantkit
from tests.graphs.small import network, opened, weights

if not RTX.is_installed():
    pytest.skip("TensorRT for RTX is not installed", allow_module_level=True)

ADA = ("8.6", "8.9")


class Shown:
    """A progress that keeps what was shown."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, int, str]] = []
        self.counts: list[int] = []

    @contextmanager
    def __call__(self, description: str, total: int, unit: str, done: int = 0) -> Iterator[Any]:
        if description.startswith("building"):
            self.opened.append((description, total, unit))
            yield self.counts.append
        else:
            yield lambda count: None


def build(calibration: Calibration, output: Path, *capabilities: str, **options: Any) -> list[Engine]:
    options = {"precisions": ["int8"]} | options
    return qk.build(calibration, target="tensorrt-rtx", compute_capabilities=capabilities, output=output, **options)


def test_one_engine_for_two_capabilities(quantkit: Quantkit, made: Path) -> None:
    options = ("--target", "tensorrt-rtx", "--compute-capability", "8.9", "--compute-capability", "8.6")
    done = quantkit("build", made / "run", *options, "--json")
    assert done.returncode == 0, done.stderr
    engines = json.loads(done.stdout)["engines"]
    assert BuildDocument.model_validate_json(done.stdout).engines
    assert [(engine["precision"], engine["mode"]) for engine in engines] == [
        *(("fp32", ""), ("fp16", "strong"), ("int8", "strong"))
    ]
    for engine in engines:
        assert Path(engine["engine"]).read_bytes().startswith(b"vtrt")  # TensorRT for RTX's own
        assert engine["where"] == {"tensorrt_rtx": RTX.version(), "compute_capabilities": list(ADA)}
        assert engine["profiles"] == [{"input": "1x3x16x16"}]
        assert engine["build_seconds"] > 0
        record = json.loads(Path(engine["engine"]).with_name(ENGINE_RECORD).read_text())
        assert record == {key: value for key, value in engine.items() if key != "engine"}
        EngineRecord.model_validate(record)
    again = quantkit("build", made / "run", "--target", "tensorrt-rtx")  # the run keeps the capabilities
    assert again.returncode == 0
    assert "Building" not in again.stderr
    assert "for compute capability 8.6, 8.9; input=1x3x16x16; built, not measured: needs an RTX GPU" in again.stdout


def test_engines_are_built_again_only_if_something_differs(
    calibration: Calibration, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (first,) = build(calibration, tmp_path, "8.6")
    plan = first.artifact.path.read_bytes()

    def rebuilt(*capabilities: str, **options: Any) -> bool:
        before = first.artifact.path.stat().st_mtime_ns
        build(calibration, tmp_path, *capabilities, **options)
        return first.artifact.path.stat().st_mtime_ns != before

    assert not rebuilt("8.6", "8.6")
    with caplog.at_level("INFO", logger="quantkit"):
        assert rebuilt("7.5")
    assert "for compute capability 8.6, and is built again" in caplog.text
    assert first.artifact.path.read_bytes() != plan
    assert rebuilt("7.5", batch_sizes=[2])
    first.artifact.path.write_bytes(plan[:-1000])
    assert rebuilt("7.5", batch_sizes=[2])
    first.artifact.path.with_name(ENGINE_RECORD).write_text("{")
    assert rebuilt("7.5", batch_sizes=[2])
    assert not rebuilt("7.5", batch_sizes=[2])


def test_without_a_capability_it_is_all_from_8_0_on(calibration: Calibration, tmp_path: Path) -> None:
    (engine,) = build(calibration, tmp_path)
    assert isinstance(engine.record, EngineRecord)
    assert isinstance(engine.record.where, AheadOfTime)
    assert engine.record.where.compute_capabilities[:4] == ("8.0", "8.6", "8.9", "12.0")


def test_progress_goes_by_steps_then_by_the_last_builds_seconds(calibration: Calibration, tmp_path: Path) -> None:
    first, second, several = Shown(), Shown(), Shown()
    build(calibration, tmp_path, progress=first)
    assert [(name, unit) for name, _, unit in first.opened] == [("building int8-strong", "steps")]
    assert 0 < sum(first.counts) <= first.opened[0][1]
    (again,) = build(calibration, tmp_path, fresh=True, progress=second)
    last = max(round(again.record.model_dump()["build_seconds"]), 1)
    ((name, total, unit),) = second.opened
    assert (name, unit) == (f"building int8-strong (last time: {total} s)", "s")
    assert abs(total - last) <= 2
    assert sum(second.counts) == total
    build(calibration, tmp_path, precisions=["fp32", "fp16"], progress=several)
    assert several.opened == [("building fp32, fp16-strong", 2, "engines")]
    assert several.counts == [1, 1]


@pytest.mark.parametrize("wanted", ["9.0", "8.7", "86", "", "sm_86"])
def test_an_unknown_capability_is_refused_with_those_there_are(
    calibration: Calibration, tmp_path: Path, wanted: str
) -> None:
    with pytest.raises(
        BadConfig, match=r"does not build for compute capability.*Choose from: 7.5, 8.0, 8.6, 8.9, 12.0"
    ):
        build(calibration, tmp_path, wanted)
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("mode", ["explicit", "implicit"])
def test_only_strongly_typed_networks_are_built(calibration: Calibration, tmp_path: Path, mode: str) -> None:
    with pytest.raises(TargetRefuses, match=r"TensorRT for RTX [\d.]+ builds strongly typed networks only"):
        build(calibration, tmp_path, mode=mode)


def test_comparing_says_that_it_needs_an_rtx_gpu(quantkit: Quantkit, made: Path) -> None:
    if RTX.availability().works:
        pytest.skip("there is a GPU here")
    done = quantkit("compare", made / "run", "--data", made / "imgs", "--target", "tensorrt-rtx")
    assert done.returncode == 3
    assert "its engines are built here, but need an RTX GPU to run" in done.stderr
    state = json.loads(quantkit("doctor", "--json").stdout)["targets"]["tensorrt-rtx"]
    assert (state["works"], state["exports"], state["devices"]) == (False, True, [])
    assert state["version"] == RTX.version()


def lone(source: Path, tmp_path: Path, **options: Any) -> Finished:
    """Build one engine in a process of its own."""
    job = Job(source, Plan("fp32", "", "model", strong=True), [], BuildSettings(), lib=RTX, capabilities=("8.6",))
    if "profiles" not in options:
        options["profiles"] = profiles_for(opened(onnx.load(source), tmp_path), [], [1])
    job = replace(job, **options)
    (tmp_path / "out").mkdir()
    (finished,) = run_builds([Wanted(job, tmp_path / "out")], 1, Shown())
    return finished


def test_a_refused_operator_is_named_with_its_node(tmp_path: Path) -> None:
    model = network("(float[N,4] x) => (float[N,4] y) { r = Relu(x)  y = Bernoulli <seed = 1.0> (r) }")
    model.graph.node[1].name = "dice"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(TargetRefuses, match=r"TensorRT for RTX cannot parse .* at node 'dice' \(Bernoulli\)"):
        lone(tmp_path / "m.onnx", tmp_path)
    assert not list((tmp_path / "out").iterdir())


def test_dimensions_that_share_a_name_may_differ_in_size(tmp_path: Path) -> None:
    """TensorRT takes them for equal; PaddlePaddle's exporter calls every one "?"."""
    model = network("(float[N,3,H,H] x) => (float[N,4,H,H] y) { c = Conv <kernel_shape = [1, 1]> (x, w)  y = Relu(c) }",
                    {"w": weights(4, 3, 1, 1)})  # fmt: skip
    for value in (*model.graph.input, *model.graph.output):
        for dimension in value.type.tensor_type.shape.dim[2:]:
            dimension.dim_param = "?"
    onnx.save(model, tmp_path / "m.onnx")
    shapes = ShapeRange(*[(1, 3, 8, 16)] * 3)
    assert lone(tmp_path / "m.onnx", tmp_path, profiles=[{"x": shapes}]).seconds > 0
    assert onnx.load(tmp_path / "m.onnx").graph.input[0].type.tensor_type.shape.dim[3].dim_param == "?"


def test_an_input_that_is_an_output_is_refused_by_its_name(tmp_path: Path) -> None:
    model = network("(float[N,4] x) => (float[N,4] y, float[N,4] x) { y = Relu(x) }")
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(TargetRefuses, match=r"another name for the input 'x', because it is an output, too\."):
        lone(tmp_path / "m.onnx", tmp_path)


def test_a_library_that_times_keeps_its_timing_cache_and_is_told_what_is_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """TensorRT's own way through the same code: it builds on a GPU, and times there."""
    monkeypatch.setattr(process, "LONG", -1.0)
    onnx.save(network("(float[N,4] x) => (float[N,4] y) { y = Relu(x) }"), tmp_path / "m.onnx")
    with caplog.at_level("INFO", logger="quantkit"):
        timing = tmp_path / child.TIMING_CACHE
        finished = lone(tmp_path / "m.onnx", tmp_path, lib=replace(RTX, ahead=False), timing_cache=timing)
    assert finished.outcome.layers == ()
    assert (tmp_path / "out" / child.TIMING_CACHE).stat().st_size > 0
    assert not timing.exists()  # it is moved there by who wanted the build
    assert caplog.text.count("optimization level 2") == 1


def test_a_process_that_does_not_start_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx.save(network("(float[N,4] x) => (float[N,4] y) { y = Relu(x) }"), tmp_path / "m.onnx")
    monkeypatch.setattr(process, "CODE", "raise SystemExit('no such module')")
    with pytest.raises(TargetRefuses, match=r"crashed \(exit status 1\)"):
        lone(tmp_path / "m.onnx", tmp_path)


def test_an_engine_is_loaded_only_where_a_gpu_is(calibration: Calibration, tmp_path: Path) -> None:
    if RTX.availability().works:
        pytest.skip("there is a GPU here")
    from quantkit.targets.tensorrt import TensorRTForRTX

    (engine,) = build(calibration, tmp_path, "8.6")
    with pytest.raises(BackendMissing, match="TensorRT for RTX cannot be used here"):
        TensorRTForRTX().load(engine.artifact, "cuda:0")
    with pytest.raises(BackendMissing, match="The NVIDIA driver is missing, or too old for TensorRT for RTX"):
        EngineSession(engine.artifact.path.read_bytes(), "it", library=RTX)
