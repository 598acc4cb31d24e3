from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import quantkit
from quantkit.core.errors import BadInput
from tests.conftest import write_images
from tests.pipeline.calibration.counts import Counted


def test_the_file_has_the_documented_shape(model_path: Path, images: Path, tmp_path: Path) -> None:
    quantkit.calibrate(model_path, images, output=tmp_path / "out")
    document = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert document["schema_version"] == 2
    assert len(document["model"]["sha256"]) == len(document["data"]["sha256"]) == 64
    assert document["samples"] == 18
    assert document["preprocess"]["size"] == [16, 16]
    tensor = document["tensors"]["relu1"]
    assert tensor["method"] == "mse-robust"
    for method in ("minmax", "percentile", "entropy", "mse"):
        assert set(tensor["candidates"][method]) == {"amax", "low", "high"}
    assert {key: tensor[key] for key in ("amax", "low", "high")} == tensor["candidates"]["mse-robust"]
    assert tensor["low"] == 0 < tensor["amax"]


def test_saving_and_loading_gives_the_same(model_path: Path, images: Path, tmp_path: Path) -> None:
    made = quantkit.calibrate(model_path, images, output=tmp_path / "out")
    loaded = quantkit.load_calibration(tmp_path / "out")
    assert loaded.model_dump() == made.model_dump()
    assert loaded.histograms == made.histograms


def test_a_stale_or_damaged_file_says_how_to_redo_it(model_path: Path, images: Path, tmp_path: Path) -> None:
    quantkit.calibrate(model_path, images, output=tmp_path / "out")
    file = tmp_path / "out" / "calibration.json"
    text = file.read_text()
    file.write_text(text.replace('"schema_version": 2', '"schema_version": 99'))
    with pytest.raises(BadInput, match=r"another version of quantkit.*quantkit calibrate"):
        quantkit.load_calibration(tmp_path / "out")
    file.write_text(text[: len(text) // 2])
    with pytest.raises(BadInput, match="is damaged"):
        quantkit.load_calibration(tmp_path / "out")


def test_another_method_reads_no_image_and_forgets_old_results(model_path: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = quantkit.calibrate(model_path, images, output=out)
    (out / "comparison.json").write_text("{}")
    counted = Counted()
    second = quantkit.calibrate(model_path, images, output=out, method="minmax", progress=counted)
    assert counted.advanced == 0
    assert second.method == "minmax"
    assert second.tensors["logits"].amax == first.tensors["logits"].candidates["minmax"].amax
    assert first.histograms == second.histograms
    assert not (out / "comparison.json").exists()
    quantkit.calibrate(model_path, images, output=out, method="minmax", fresh=True, progress=counted)
    assert counted.advanced == 18


@pytest.mark.parametrize("change", ["image", "model", "samples", "preprocess"])
def test_a_change_is_noticed(model_path: Path, images: Path, tmp_path: Path, change: str) -> None:
    out = tmp_path / "out"
    first = quantkit.calibrate(model_path, images, output=out)
    if change == "image":
        shutil.copy(images / "red" / "1.png", images / "red" / "0.png")
    if change == "model":
        model_path.write_bytes(model_path.read_bytes().replace(b"quantkit", b"quantkit") + b"\x32\x00")
    options = {"samples": {"samples": 9}, "preprocess": {"preprocess": "raw"}}.get(change, {})
    second = quantkit.calibrate(model_path, images, output=out, **options)  # type: ignore[arg-type]
    same_values = change == "model"  # the bytes differ, the network does not
    assert (first.histograms == second.histograms) == same_values
    assert (first.model.sha256, first.data.sha256, first.samples, first.preprocess) != (
        second.model.sha256,
        second.data.sha256,
        second.samples,
        second.preprocess,
    )


def test_execution_batches_change_nothing_but_the_first_batch_does(tmp_path: Path, images: Path) -> None:
    import onnx

    from tests.conftest import tiny_model

    for batch in (1, 3, "N"):
        onnx.save(tiny_model(batch=batch), tmp_path / f"{batch}.onnx")
    free = quantkit.calibrate(tmp_path / "N.onnx", images, batch_size=3)
    fixed = quantkit.calibrate(tmp_path / "3.onnx", images, batch_size=3)
    one = quantkit.calibrate(tmp_path / "1.onnx", images, batch_size=3)
    assert free.data.sha256 == fixed.data.sha256 == one.data.sha256
    for name in free.tensors:
        assert free.histograms[name].total == fixed.histograms[name].total
        assert free.histograms[name].width == pytest.approx(fixed.histograms[name].width, rel=1e-5)
    assert free.histograms == one.histograms


def test_a_dead_tensor_gets_a_scale_and_a_warning(images: Path, tmp_path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    from tests.conftest import tiny_model

    proto = tiny_model()
    for tensor in proto.graph.initializer:
        if tensor.name in ("w2", "b2"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 0, tensor.name))
    onnx.save(proto, tmp_path / "dead.onnx")
    calibration = quantkit.calibrate(tmp_path / "dead.onnx", images)
    assert calibration.tensors["conv2"].dead
    assert calibration.tensors["conv2"].amax > 0
    assert any("conv2" in warning for warning in calibration.warnings)


SLOW = """
import sys, time
import quantkit
from quantkit.pipeline.calibration import one_pass
from quantkit.runtime.activations import Runner
original = Runner.run
def slowly(self, inputs):
    print("running", flush=True)
    time.sleep(0.1)
    return original(self, inputs)
Runner.run = slowly
one_pass.CHECKPOINT_SECONDS = float(sys.argv[4])
quantkit.calibrate(sys.argv[1], sys.argv[2], output=sys.argv[3])
"""


@pytest.mark.parametrize(("how", "every"), [(signal.SIGINT, 100), (signal.SIGKILL, 0.2)])
def test_an_interrupted_pass_goes_on_to_bit_identical_counts(
    model_path: Path, tmp_path: Path, how: signal.Signals, every: float
) -> None:
    images = write_images(tmp_path / "many", per_class=20)
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, model_path, images, out, str(every)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(quantkit.__file__).parents[1],
    )
    assert process.stdout is not None
    for _ in range(20):  # a third of the images are on their way
        process.stdout.readline()
    process.send_signal(how)
    process.wait(timeout=30)
    position = json.loads((out / ".partial" / "position.json").read_text())["done"]
    assert 0 < position < 60
    assert not (out / "calibration.json").exists()
    resumed = quantkit.calibrate(model_path, images, output=out)
    assert resumed.samples == 60
    assert not (out / ".partial").exists()
    whole = quantkit.calibrate(model_path, images)
    assert resumed.histograms == whole.histograms
    assert resumed.data.sha256 == whole.data.sha256


def test_a_checkpoint_of_other_work_is_not_used(model_path: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / ".partial").mkdir(parents=True)
    (out / ".partial" / "position.json").write_text("{}")
    (out / ".partial" / "manifest.json").write_text("{}")
    assert quantkit.calibrate(model_path, images, output=out).samples == 18
