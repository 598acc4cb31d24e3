"""What tests share: a tiny model, real image files, and the command line run in a process of its own."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import pytest
from filelock import FileLock
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.packages import install  # noqa: F401 - a fixture

SHARED = Path(__file__).resolve().parents[2] / "shared"
CLASSES = ("blue", "green", "red")


def tiny_model(channels: int = 3, batch: int | str = "N", size: int | str = 16, opset: int = 13) -> onnx.ModelProto:
    """Conv, BatchNorm, Relu, a residual Add, average pool and Gemm, with fixed random weights; 3 classes."""
    rng = np.random.default_rng(7)

    def weight(name: str, *shape: int, scale: float = 0.3) -> onnx.TensorProto:
        return numpy_helper.from_array((rng.standard_normal(shape) * scale).astype(np.float32), name)

    def ones(name: str, value: float) -> onnx.TensorProto:
        return numpy_helper.from_array(np.full(16, value, np.float32), name)

    nodes = [
        helper.make_node("Conv", ["input", "w1", "b1"], ["conv1"], name="conv1", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["conv1", "g", "b", "m", "v"], ["bn1"], name="bn1"),
        helper.make_node("Relu", ["bn1"], ["relu1"], name="relu1"),
        helper.make_node("Conv", ["relu1", "w2", "b2"], ["conv2"], name="conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["conv2", "relu1"], ["add"], name="add"),
        helper.make_node("Relu", ["add"], ["relu2"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["relu2"], ["pool"], name="pool"),
        helper.make_node("Flatten", ["pool"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["logits"], name="fc", transB=1),
    ]
    initializers = [
        weight("w1", 16, channels, 3, 3),
        weight("b1", 16),
        ones("g", 1.1),
        ones("b", 0.05),
        ones("m", 0.02),
        ones("v", 0.9),
        weight("w2", 16, 16, 3, 3, scale=0.1),
        weight("b2", 16),
        weight("w3", 3, 16, scale=1.0),
        weight("b3", 3),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, channels, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 3])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def write_images(folder: Path, per_class: int = 6, size: int = 20) -> Path:
    """Class folders of noisy images whose dominant colour is the class; every file is different."""
    rng = np.random.default_rng(3)
    for channel, name in enumerate(reversed(CLASSES)):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = rng.integers(0, 90, (size, size, 3), dtype=np.uint8)
            pixels[:, :, channel] += 150
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    onnx.save(tiny_model(), path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_images(tmp_path / "imgs")


Quantkit = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def quantkit(tmp_path: Path) -> Quantkit:
    """Run the command line in a new process in ``tmp_path``."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("QUANTKIT_")}
        return subprocess.run(
            [sys.executable, "-m", "quantkit", *map(str, arguments)],
            cwd=tmp_path,
            env=clean | {"NO_COLOR": "1"} | environment,
            capture_output=True,
            text=True,
            timeout=280,
        )

    return run


@pytest.fixture
def invoked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Quantkit]:
    """Run the command line in ``tmp_path`` in this process, which saves the time that a new one takes to start."""
    from quantkit.cli.main import invoke

    log = logging.getLogger("quantkit")
    before = log.handlers, log.propagate, log.level
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    for key in [key for key in os.environ if key.startswith("QUANTKIT_")]:
        monkeypatch.delenv(key)

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        words = [*map(str, arguments)]
        written = io.BytesIO()  # some output is bytes
        with (
            pytest.MonkeyPatch.context() as patch,
            redirect_stdout(io.TextIOWrapper(written, "utf-8", write_through=True)),
            redirect_stderr(io.StringIO()) as errors,
        ):
            for key, value in environment.items():
                patch.setenv(key, value)
            code = invoke(words)
            return subprocess.CompletedProcess(words, code, written.getvalue().decode(), errors.getvalue())

    yield run
    log.handlers, log.propagate = before[:2]
    log.setLevel(before[2])


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, brief_timing: None) -> Path:
    """The folder that ``quantkit demo`` makes, on ONNX Runtime and OpenVINO. Workers share it: copy what is changed."""
    pytest.importorskip("openvino")
    from quantkit.cli.main import invoke

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder, made = shared / "demo" / "digits", shared / "demo" / "made"
    (shared / "demo").mkdir(exist_ok=True)
    with FileLock(shared / "demo" / "lock"), pytest.MonkeyPatch.context() as patch:
        if not made.exists():
            for key in [key for key in os.environ if key.startswith("QUANTKIT_")]:
                patch.delenv(key)
            assert invoke(["demo", str(folder)]) == 0
            made.touch()
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the measuring material is not here")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def brief_timing() -> Iterator[None]:
    """Latency is measured briefly in this process: tests look at what becomes of the figures, not at their spread."""
    from quantkit.measure import latency

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latency, "SECONDS_PER_SESSION", 0.2)
        patch.setattr(latency, "SETTLE_SECONDS", 0.0)
        yield


@pytest.fixture(scope="module")
def brief_tuning() -> Iterator[None]:
    """What tuning tries is timed briefly, for tests that look at what becomes of the figures."""
    from quantkit.pipeline.tuning import bench

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "ROUNDS", 4)
        patch.setattr(bench, "SECONDS", 0.3)
        yield
