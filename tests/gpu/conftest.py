"""What the tests on a GPU share. Without one, or without TensorRT, they are skipped and say why."""

from __future__ import annotations

import lzma
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from quantkit.api import calibrate
from quantkit.config import Config, parse_config
from quantkit.core.calibration import Calibration
from quantkit.core.recipe import Recipe
from quantkit.demo.write import write_demo
from quantkit.pipeline.build import EngineRequest, build_engines
from quantkit.pipeline.run_directory import ARTIFACTS
from quantkit.targets.base import Engine
from quantkit.targets.tensorrt.engine.libraries import TENSORRT

SHARED = Path(__file__).parents[3] / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of this folder's tests, and skip them where no engine can run."""
    state = TENSORRT.availability()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            item.add_marker(pytest.mark.timeout(590))
            if not state.works:
                item.add_marker(pytest.mark.skip(reason=state.reason))


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where runs and their engines are kept: QUANTKIT_GPU_RUNS keeps them from one call to the next."""
    kept = os.environ.get("QUANTKIT_GPU_RUNS")
    return Path(kept) if kept else tmp_path_factory.mktemp("runs")


def config(**build: object) -> Config:
    """A configuration with this ``[build]`` table."""
    return parse_config({"build": build}, "the test")


def built(
    calibration: Calibration, precisions: Sequence[str], batches: Sequence[int] = (1,), **build: object
) -> list[Engine]:
    """Engines of a calibration that lies in a run directory."""
    assert calibration.folder is not None
    return build_engines(
        config(**build),
        Recipe.of(calibration),
        calibration.folder / ARTIFACTS,
        EngineRequest(precisions=precisions, batches=batches),
    )


@pytest.fixture(scope="session")
def digits(runs: Path) -> Calibration:
    """The demo's model, calibrated on the images beside it."""
    write_demo(runs / "digits-demo")
    folder = runs / "digits-demo"
    return calibrate(folder / "model.onnx", folder / "imgs" / "calib", samples=200, output=runs / "digits")


@pytest.fixture(scope="session")
def real(runs: Path) -> dict[str, Calibration]:
    """MobileNetV2 and ResNet-50 of the measuring material, calibrated on the 200 images of TensorRT's own caches."""
    if not SHARED.is_dir():
        pytest.skip("the measuring material is not here")
    calibrations = {}
    for name in ("mobilenet_v2", "resnet50"):
        model = SHARED / "models" / f"{name}_cifar10.onnx"
        packed = model.with_name(f"{model.name}.xz")
        if not model.is_file() and packed.is_file():
            model = runs / model.name
            if not model.is_file():
                runs.mkdir(parents=True, exist_ok=True)
                model.write_bytes(lzma.decompress(packed.read_bytes()))
        if model.is_file():
            images = SHARED / "golden" / "tensorrt-8.6.0" / "calibration_images.txt"
            calibrations[name] = calibrate(model, images, samples=200, output=runs / name)
    return calibrations
