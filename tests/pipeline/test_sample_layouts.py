"""However samples lie in the data and in the model, each run gets whole ones, and ranges are those of true values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import quantkit as qk
from quantkit.core.errors import BadData
from tests.graphs.shapes import detector, recurrent, waveform, weighted_steps

RNG = np.random.default_rng(4)
GAINS = 10.0 ** np.arange(6).reshape(6, 1)
STEPS = (RNG.standard_normal((60, 6, 16)) / GAINS).astype(np.float32)
TRUE = (STEPS * GAINS).sum(1)


def extremes(folder: Path, proto: onnx.ModelProto, data: Any, tensor: str, **options: Any) -> tuple[float, float]:
    onnx.save(proto, folder / "m.onnx")
    found = qk.calibrate(folder / "m.onnx", data, method="minmax", **options)
    return found.histograms[tensor].minimum, found.histograms[tensor].maximum


LAYOUTS = {
    "samples": STEPS,
    "own layout": np.moveaxis(STEPS, 0, 1),
    "runs": STEPS[:, :, None],
    "joined": STEPS.reshape(360, 1, 16),
    "list": list(STEPS),
}


@pytest.mark.parametrize(
    ("layout", "batch"),
    [
        *((layout, batch) for layout in LAYOUTS for batch in ("N", None, 1)),
        *((layout, 4) for layout in LAYOUTS if layout != "joined"),  # runs of four samples are not joined so
    ],
)
def test_time_steps_are_never_shuffled(tmp_path: Path, layout: str, batch: Any) -> None:
    found = extremes(tmp_path, weighted_steps(batch), LAYOUTS[layout], "s")
    np.testing.assert_allclose(found, (TRUE.min(), TRUE.max()), rtol=1e-4)


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("shape", [(8, 8), ("H", "W")])
def test_a_detector_takes_whole_images(tmp_path: Path, rows: bool, shape: tuple[Any, Any]) -> None:
    images = RNG.standard_normal((30, 3, 8, 8)).astype(np.float32) * np.array([1, 10, 100]).reshape(1, 3, 1, 1)
    data = images.astype(np.float32)
    file = tmp_path / "x.npy"
    np.save(file, data.reshape(90, 8, 8) if rows else data)
    onnx.save(detector(*shape), tmp_path / "m.onnx")
    found = qk.calibrate(tmp_path / "m.onnx", file, seed=5)
    assert found.samples == 30
    whole = qk.calibrate(tmp_path / "m.onnx", list(data))
    assert found.histograms["c"].maximum == whole.histograms["c"].maximum
    assert found.histograms["c"].minimum == whole.histograms["c"].minimum


@pytest.mark.parametrize("size", [64, "T"])
def test_a_waveform_is_one_sample(tmp_path: Path, size: Any) -> None:
    data = RNG.standard_normal((20, 64)).astype(np.float32)
    onnx.save(waveform(size), tmp_path / "m.onnx")
    found = qk.calibrate(tmp_path / "m.onnx", data)
    assert found.samples == 20
    assert found.histograms["x"].total == data.size


@pytest.mark.parametrize("batch", [None, 1, 4])
def test_states_stay_with_their_samples(tmp_path: Path, batch: Any) -> None:
    x = RNG.standard_normal((20, 5, 8)).astype(np.float32)
    h, c = (np.repeat(np.linspace(-1, 1, 20, dtype=np.float32), 4).reshape(20, 1, 4) for _ in range(2))
    singles = [{"x": x[i], "h": h[i], "c": c[i]} for i in range(20)]
    low, high = extremes(tmp_path, recurrent(batch), {"x": x, "h": h, "c": c}, "y")
    one_by_one = extremes(tmp_path, recurrent(1), singles, "y")
    np.testing.assert_allclose((low, high), one_by_one, rtol=1e-5)


def test_what_is_not_certain_is_refused_and_can_be_said(tmp_path: Path) -> None:
    from tests.graph.test_batch_axes import layer

    onnx.save(layer(["sequence", 16]), tmp_path / "m.onnx")
    data = RNG.standard_normal((40, 16)).astype(np.float32)
    with pytest.raises(BadData, match="does not show along which axis"):
        qk.calibrate(tmp_path / "m.onnx", data)
    assert qk.calibrate(tmp_path / "m.onnx", data, batch_axis=0).samples == 40
    assert qk.calibrate(tmp_path / "m.onnx", data, batch_axis="none").samples == 1
    assert qk.calibrate(tmp_path / "m.onnx", data.reshape(8, 5, 16)).samples == 8


def test_the_word_of_the_command_line_stays_with_the_run(tmp_path: Path, invoked: Any) -> None:
    from tests.graph.test_batch_axes import layer

    onnx.save(layer(["sequence", 16]), tmp_path / "m.onnx")
    np.savez(tmp_path / "x.npz", x=RNG.standard_normal((100, 16)).astype(np.float32))
    refused = invoked("calibrate", "m.onnx", "--data", "x.npz", "-o", "run")
    assert refused.returncode == 2
    assert "--batch-axis" in refused.stderr
    arguments = ("--data", "x.npz", "-o", "run", "--no-export")
    assert invoked("calibrate", "m.onnx", *arguments, "--batch-axis", "2").returncode == 2
    assert invoked("calibrate", "m.onnx", *arguments, "--batch-axis", "x=0").returncode == 0
    assert qk.load_calibration(tmp_path / "run").model.batch_axis == {"x": 0}
    done = invoked("compare", "run", "--data", "x.npz", "--target", "onnxruntime", "--rounds", "1", "--seconds", "0.05")
    assert done.returncode == 0, done.stderr
