"""Versions, devices, how a model is run, and what its layers tell."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantkit.api import calibrate
from quantkit.core.artifact import Artifact
from quantkit.core.calibration import Calibration
from quantkit.core.errors import BackendMissing
from quantkit.core.recipe import Recipe
from quantkit.core.releases import release_of
from quantkit.graph.model_file import open_model
from quantkit.targets.openvino import OpenVino, OpenVinoSettings, library
from quantkit.targets.openvino.bisection import offending
from quantkit.targets.openvino.devices import configuration
from quantkit.targets.openvino.frontend import read_onnx
from quantkit.targets.openvino.layers import SMALL_IMAGE, SMALL_MATRIX, bias_adders, meant_int8
from quantkit.targets.session import TimedSession
from tests.conftest import tiny_model

pytest.importorskip("openvino")
pytestmark = pytest.mark.openvino

X = {"input": np.random.default_rng(5).standard_normal((1, 3, 16, 16)).astype(np.float32)}


@pytest.fixture
def calibration(model_path: Path, images: Path) -> Calibration:
    return calibrate(model_path, images)


def exported(
    calibration: Calibration, precision: str, folder: Path, settings: OpenVinoSettings | None = None
) -> Artifact:
    folder.mkdir(parents=True)
    return OpenVino(settings).export(
        open_model(Path(calibration.model.path)), Recipe.of(calibration), precision, folder
    )


@pytest.mark.parametrize(
    ("text", "release"), [("2026.4.1-22012-abc", (2026, 4)), ("3.4.0", (3, 4)), ("3.5.0.dev1", (3, 5)), ("x", (0, 0))]
)
def test_a_version_is_read_by_its_first_two_numbers(text: str, release: tuple[int, int]) -> None:
    assert release_of(text) == release


@pytest.mark.parametrize("name", ["openvino", "nncf"])
def test_an_untested_version_is_an_error_with_the_range_and_the_pip_command(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "version", lambda package: "99.1.0")
    check = library.availability if name == "openvino" else library.nncf_availability
    state = check.__wrapped__()
    assert not state.works
    first, beyond = library.OPENVINO if name == "openvino" else library.NNCF
    assert (
        f"{name} 99.1.0 is untested; tested are {first[0]}.{first[1]} to before {beyond[0]}.{beyond[1]}" in state.reason
    )
    assert f"pip install '{name}>={first[0]}.{first[1]},<{beyond[0]}.{beyond[1]}'" in state.hint


def test_the_installed_versions_are_tested_ones() -> None:
    assert library.availability().works
    for name, bounds in (("openvino", library.OPENVINO), ("nncf", library.NNCF)):
        assert bounds[0] <= release_of(metadata.version(name)) < bounds[1]


def test_a_missing_nncf_ends_with_3_and_the_pip_command(
    calibration: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(package: str) -> str:
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(library, "version", missing)
    library.nncf_availability.cache_clear()
    try:
        with pytest.raises(BackendMissing, match="the package nncf is not installed") as raised:
            exported(calibration, "int8", tmp_path / "out", OpenVinoSettings(placement=["nncf"]))
    finally:
        monkeypatch.undo()
        library.nncf_availability.cache_clear()
    assert raised.value.exit_code == 3
    assert "pip install 'nncf>=" in raised.value.hint


@pytest.mark.parametrize("device", ["TPU", "gpu.7", "auto:TPU,cpu"])
def test_an_absent_device_is_named_with_those_present(calibration: Calibration, tmp_path: Path, device: str) -> None:
    artifact = exported(calibration, "fp32", tmp_path / "out")
    with pytest.raises(BackendMissing, match="has no device") as raised:
        OpenVino().load(artifact, device)
    assert "CPU" in raised.value.hint and "AUTO" in raised.value.hint


@pytest.mark.parametrize("device", ["AUTO", "AUTO:CPU", "auto:cpu"])
def test_auto_runs_on_what_is_there(calibration: Calibration, tmp_path: Path, device: str) -> None:
    session = OpenVino().load(exported(calibration, "fp32", tmp_path / "out"), device)
    assert session.infer(X)["logits"].shape == (1, 3)
    assert session.runtime["devices"] == "CPU"


def test_threads_are_pinned_where_they_are_set(calibration: Calibration, tmp_path: Path) -> None:
    target = OpenVino(OpenVinoSettings(threads=1, pinning=False))
    session = target.load(exported(calibration, "fp32", tmp_path / "out"), "CPU")
    assert session.runtime["threads"] == "1"
    assert session.runtime["pinning"] == "no"
    assert session.runtime["hint"] == "latency"


def test_only_floating_point_beside_the_cpu_is_f16() -> None:
    settings = OpenVinoSettings(threads=2, pinning=True)
    gpu = configuration("GPU", "int8", settings, None)
    assert gpu["INFERENCE_PRECISION_HINT"] == "f16"
    assert "INFERENCE_NUM_THREADS" not in gpu
    assert configuration("GPU", "fp32", settings, None)["INFERENCE_PRECISION_HINT"] == "f32"
    assert configuration("CPU", "int8", settings, None)["INFERENCE_PRECISION_HINT"] == "f32"


@pytest.mark.parametrize("hint", ["latency", "throughput"])
@pytest.mark.parametrize("shapes", ["fixed", "dynamic"])
def test_every_way_to_run_gives_the_same_and_tells_times(
    calibration: Calibration, tmp_path: Path, hint: Any, shapes: Any
) -> None:
    artifact = exported(calibration, "fp32", tmp_path / "out")
    expected = OpenVino().load(artifact, "CPU").infer(X)["logits"]
    session = OpenVino(OpenVinoSettings(hint=hint, shapes=shapes)).load(artifact, "CPU")
    assert isinstance(session, TimedSession)
    assert session.runtime["shapes"] == shapes
    for batch in (1, 3):
        inputs = {"input": np.repeat(X["input"], batch, axis=0)}
        np.testing.assert_allclose(session.infer(inputs)["logits"], np.repeat(expected, batch, axis=0), rtol=1e-4)
        times = session.times(inputs, 10)
        assert len(times.latency) >= 10
        assert 0 < min(times.latency) <= times.back_to_back * 20


def test_a_compiled_model_is_cached_beside_the_precisions(calibration: Calibration, tmp_path: Path) -> None:
    artifact = exported(calibration, "fp32", tmp_path / "openvino" / "fp32")
    OpenVino(OpenVinoSettings(cache=True)).load(artifact, "CPU").infer(X)
    assert list((tmp_path / "openvino" / "cache").iterdir())
    assert {file.name for file in artifact.path.parent.iterdir()} == {"model.xml", "model.bin"}


def test_layers_tell_kernel_precision_and_time(calibration: Calibration, tmp_path: Path) -> None:
    session = OpenVino().load(exported(calibration, "int8", tmp_path / "out"), "CPU")
    layers = session.layer_times(X, 5)
    weighted = [layer for layer in layers if layer.meant]
    assert [layer.name for layer in weighted] == ["conv2"]
    on_purpose = [
        (layer.kind, layer.meant, layer.reason) for layer in layers if layer.precision != "int8" if layer.reason
    ]
    assert on_purpose == [("Convolution", "", SMALL_IMAGE), ("FullyConnected", "", SMALL_MATRIX)]
    for layer in weighted:
        assert (layer.precision, layer.meant, layer.reason) == ("int8", "int8", "")
        assert "I8" in layer.kernel
        assert layer.ms > 0
    assert all(layer.kind for layer in layers)


def test_floating_point_models_mean_no_int8(calibration: Calibration, tmp_path: Path) -> None:
    session = OpenVino().load(exported(calibration, "fp32", tmp_path / "out"), "CPU")
    assert all(layer.meant == "" and layer.reason == "" for layer in session.layer_times(X, 2))


def test_a_missing_fake_quantize_is_the_reason(tmp_path: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    model = read_onnx(tmp_path / "tiny.onnx", tmp_path / "tiny.onnx")
    told = meant_int8(model)
    assert len(told) == 3
    assert all(reason.startswith("no FakeQuantize on its input") for reason in told.values())


def test_an_operation_is_known_by_the_add_of_its_bias_and_by_no_residual_add(tmp_path: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    model = read_onnx(tmp_path / "tiny.onnx", tmp_path / "tiny.onnx")
    adders = bias_adders(model)
    assert set(adders.values()) == set(meant_int8(model))
    assert adders["logits"].startswith("fc")  # behind the Multiply that is a Gemm's alpha
    assert not any(name.startswith("add") for name in adders)


def test_every_weighted_layer_of_a_real_model_is_told_of(shared: Path, tmp_path: Path) -> None:
    calibration = calibrate(
        shared / "models" / "resnet20_cifar10.onnx", shared / "images" / "cifar10" / "calib.txt", samples=8
    )
    session = OpenVino().load(exported(calibration, "int8", tmp_path / "out"), "CPU")
    layers = session.layer_times({"input": np.zeros((1, 3, 32, 32), np.float32)}, 1)
    told = [layer for layer in layers if layer.meant or layer.reason]
    assert [layer.kind for layer in told] == ["Convolution"] * 19 + ["FullyConnected"]
    assert [layer.reason for layer in told] == [SMALL_IMAGE, *[""] * 18, SMALL_MATRIX]
    assert {layer.name for layer in layers if layer.kind in ("Convolution", "FullyConnected")} == {
        layer.name for layer in told
    }


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=6))))
def test_bisection_finds_exactly_the_offending_layers(case: tuple[int, set[int]]) -> None:
    count, bad = case
    layers = [f"layer{i}" for i in range(count)]
    wanted = [f"layer{i}" for i in sorted(bad)]
    asked = 0

    def compiles(kept: Sequence[str]) -> bool:
        nonlocal asked
        asked += 1
        return not set(wanted) & set(kept)

    assert offending(layers, compiles) == wanted
    assert asked <= 2 + 4 * (len(bad) or 1) * (1 + count.bit_length())


def test_layers_that_fail_only_together_all_count() -> None:
    assert offending(["a", "b"], lambda kept: set(kept) != {"a", "b"}) == ["a", "b"]


def test_layers_that_do_not_compile_are_left_out_and_listed(
    calibration: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that takes INT8 convolutions of a few input channels only: the rest is compiled by OpenVINO itself."""
    from quantkit.targets.openvino import target

    real = target._failure

    def choosy(model: Any) -> str | None:
        for operation in model.get_ops():
            wide = operation.get_type_name() == "Convolution" and operation.get_input_shape(1)[1] > 3
            if wide and meant_int8(model)[operation.get_friendly_name()] == "":
                return "convolutions of more than 3 channels are not supported in INT8"
        return real(model)

    monkeypatch.setattr(target, "_failure", choosy)
    artifact = exported(calibration, "int8", tmp_path / "out")
    assert artifact.notes[-1].startswith("1 layer stays in floating point") and "conv2" in artifact.notes[-1]
    told = {layer.name: layer for layer in OpenVino().load(artifact, "CPU").layer_times(X, 2) if layer.meant}
    assert {name: layer.precision for name, layer in told.items()} == {"conv2": "f32"}
    assert told["conv2"].reason == "OpenVINO cannot compile it in INT8"


def test_importing_openvino_reports_nothing_to_anyone() -> None:
    code = (
        "from quantkit.targets.openvino import library; library.openvino(); import sys, openvino.tools.ovc as ovc; "
        "print(type(ovc.telemetry).__module__, 'openvino_telemetry' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["openvino.tools.ovc.telemetry_stub", "False"]
