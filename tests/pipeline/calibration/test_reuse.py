"""Counts of an earlier run are used again where they are the same, and only there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import quantkit
from quantkit.config import Config
from quantkit.core.calibration import Calibration
from quantkit.core.presets import PRESETS
from quantkit.core.recipe import Recipe
from quantkit.pipeline.calibration.stage import calibrate
from quantkit.pipeline.export import export_all
from quantkit.pipeline.run_files import load_calibration
from tests.conftest import Quantkit, tiny_model
from tests.pipeline.calibration.counts import Counted, bits, configured

HELD = "no image is read"


@pytest.fixture
def config(model_path: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Of the command that the tests give again; its first run lies under runs/."""
    monkeypatch.chdir(tmp_path)
    config = configured(model_path, images)
    calibrate(config)
    return config


def again(config: Config, folder: Path | None = None, fresh: bool = False) -> tuple[Calibration, int]:
    """The calibration, and how many samples were counted for it."""
    progress = Counted()
    calibration = calibrate(config, folder, fresh=fresh, progress=progress)
    return calibration, progress.advanced


def runs() -> list[Path]:
    return sorted(Path("runs").iterdir(), key=lambda run: run.stat().st_mtime_ns)


def test_the_same_command_counts_nothing(config: Config, images: Path, caplog: pytest.LogCaptureFixture) -> None:
    (first,) = runs()
    with caplog.at_level("INFO", "quantkit"):
        second, counted = again(config)
    assert counted == 0
    assert f"Using the histograms in {first} again; no image is read." in caplog.text
    assert second.folder not in (None, first)
    assert second.folder is not None
    assert bits(second.folder) == bits(first)
    assert second.model_dump(exclude={"created"}) == load_calibration(first).model_dump(exclude={"created"})
    assert load_calibration(second.folder).model_dump() == second.model_dump()


def test_another_method_counts_nothing_either(config: Config, images: Path) -> None:
    (first,) = runs()
    other, counted = again(config.with_values("calibrate", method="entropy", percentile=99.0))
    assert counted == 0
    earlier = load_calibration(first)
    assert (earlier.method, other.method) == ("mse-robust", "entropy")
    for name, tensor in other.tensors.items():
        assert tensor.range == earlier.tensors[name].candidates["entropy"]
    assert any(
        t.candidates["percentile"] != earlier.tensors[n].candidates["percentile"] for n, t in other.tensors.items()
    )


@pytest.mark.parametrize("own", [True, False])
def test_a_run_in_a_folder_of_ones_own_is_used_by_that_folder_alone(config: Config, tmp_path: Path, own: bool) -> None:
    shutil.rmtree("runs")
    calibrate(config, tmp_path / "mine")
    _, counted = again(config, tmp_path / "mine" if own else None)
    assert counted == (0 if own else 18)


def test_a_folder_uses_what_lies_under_runs(config: Config, tmp_path: Path) -> None:
    (first,) = runs()
    there, counted = again(config, tmp_path / "mine")
    assert counted == 0
    assert bits(tmp_path / "mine") == bits(first)
    assert there.folder == tmp_path / "mine"


def test_fresh_counts_anew(config: Config) -> None:
    (first,) = runs()
    second, counted = again(config, fresh=True)
    assert counted == 18
    assert second.folder is not None
    assert bits(second.folder) == bits(first)


@pytest.mark.parametrize(
    "change",
    [
        "image",
        "image of the same time",
        "time",
        "new image",
        "lost image",
        "model",
        "preprocess",
        "tensors",
        "samples",
        "seed",
    ],
)
def test_a_change_is_counted_anew(config: Config, model_path: Path, images: Path, change: str) -> None:
    (first,) = runs()
    image = images / "red" / "0.png"
    if change == "image":
        shutil.copy(images / "red" / "1.png", image)
    if change == "image of the same time":
        times = image.stat()
        image.write_bytes(image.read_bytes()[:-1] + b"x")
        os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
    if change == "time":
        os.utime(image, ns=(1, 1))
    if change == "new image":
        shutil.copy(image, images / "red" / "more.png")
    if change == "lost image":
        image.unlink()
    if change == "model":
        proto = tiny_model()
        weight = proto.graph.initializer[0]
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(2), weight.name))
        onnx.save(proto, model_path)
    if change == "preprocess":
        config = config.model_copy(update={"preprocess": PRESETS["raw"]})
    if change == "tensors":
        config = config.with_values("calibrate", tensors="quantizable")
    if change in ("samples", "seed"):
        config = config.with_values("data", **{change: 12})
    second, counted = again(config)
    assert counted == {"new image": 19, "lost image": 17, "samples": 12}.get(change, 18)
    assert second.folder is not None
    if change not in ("time", "image of the same time", "seed"):
        assert bits(second.folder) != bits(first)
    assert again(config)[1] == 0  # but that one is known from now on


def test_what_is_excluded_is_counted_all_the_same(config: Config, tmp_path: Path) -> None:
    """Leaving something out of the artifacts, or taking it in again, reads no image."""
    (first,) = runs()
    without, counted = again(config.with_values("calibrate", exclude=["conv2"]), first)
    assert (counted, without.exclude) == (0, ("conv2",))
    assert "conv2" in without.tensors
    assert "conv2" not in Recipe.of(without).quantized_ranges
    whole, counted = again(config, first)
    assert (counted, whole.exclude) == (0, ())
    assert "conv2" in Recipe.of(whole).quantized_ranges


def test_an_excluded_tensor_may_hold_what_is_no_number(model_path: Path, images: Path, tmp_path: Path) -> None:
    proto = tiny_model()
    proto.graph.node.append(helper.make_node("Log", ["relu1"], ["log"], name="log"))  # of zeros: -Inf
    proto.graph.node.append(helper.make_node("Relu", ["log"], ["behind"], name="behind"))
    proto.graph.output.append(helper.make_tensor_value_info("behind", TensorProto.FLOAT, None))
    onnx.save(proto, model_path)
    excluded = quantkit.calibrate(model_path, images, exclude=["log"], output=tmp_path / "run")
    assert excluded.not_finite == ("log",)
    assert "log" not in excluded.tensors
    assert excluded.tensors["behind"].low == 0  # counted by itself, though it only cuts the other off
    again = quantkit.calibrate(model_path, images, output=tmp_path / "run")
    assert (again.not_finite, again.masked) == ((), ("log",))  # -Inf needs no --exclude
    assert again.tensors["behind"] == excluded.tensors["behind"]


def test_of_several_runs_the_one_of_the_same_work_is_found(config: Config, images: Path) -> None:
    other = config.with_values("calibrate", batch_size=7)
    assert again(other)[1] == 18
    for wanted in (config, other, config):
        calibration, counted = again(wanted)
        assert counted == 0
        assert calibration.batch_size == wanted.calibrate.batch_size


def test_a_model_that_was_moved_is_exported_from_where_it_is(config: Config, model_path: Path, tmp_path: Path) -> None:
    (first,) = runs()
    moved = config.with_values("model", path=model_path.rename(tmp_path / "moved.onnx"))
    for folder in (None, first):
        calibration, counted = again(moved, folder)
        assert counted == 0
        assert calibration.model.path == str(tmp_path / "moved.onnx")
        assert calibration.folder is not None
        assert load_calibration(calibration.folder).model.path == str(tmp_path / "moved.onnx")
        assert export_all(moved, Recipe.of(calibration), tmp_path / "out", targets=["onnxruntime"], precisions=["int8"])


@pytest.mark.parametrize("damage", ["histograms.npz", "statistics.npz", "calibration.json"])
@pytest.mark.parametrize("how", ["gone", "cut"])
def test_a_damaged_run_stops_no_other(config: Config, damage: str, how: str) -> None:
    (first,) = runs()
    file = first / damage
    data = file.read_bytes()
    file.unlink() if how == "gone" else file.write_bytes(data[: len(data) // 2])
    calibration, counted = again(config)
    assert counted == 18
    assert calibration.folder != first


def test_an_unfinished_run_is_gone_on_with(config: Config) -> None:
    other = config.with_values("calibrate", batch_size=2)
    with pytest.raises(KeyboardInterrupt):
        calibrate(other, progress=Counted(interrupt_after=4))
    unfinished = runs()[-1]
    assert not (unfinished / "calibration.json").exists()
    progress = Counted()
    calibration = calibrate(other, progress=progress)
    assert progress.done_before >= 4
    assert progress.done_before + progress.advanced == 18
    assert calibration.folder == unfinished
    whole = calibrate(other, Path("whole"), fresh=True)
    assert bits(Path("whole")) == bits(unfinished)
    assert whole.data == calibration.data
    assert whole.samples == calibration.samples


def test_on_the_command_line(tmp_path: Path, invoked: Quantkit, model_path: Path, images: Path) -> None:
    command = ("calibrate", model_path, "--data", images, "--no-export")
    first = invoked(*command)
    assert first.returncode == 0, first.stderr
    assert HELD not in first.stderr.replace("\n", " ")
    second = invoked(*command, "--method", "minmax")
    assert second.returncode == 0, second.stderr
    assert HELD in second.stderr.replace("\n", " ")
    one, two = sorted((tmp_path / "runs").iterdir(), key=lambda run: run.stat().st_mtime_ns)
    assert bits(one) == bits(two)
