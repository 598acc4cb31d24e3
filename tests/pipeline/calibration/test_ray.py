"""Calibration over a local Ray cluster, machines of which get lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quantkit as qk
from quantkit.config import parse_config
from quantkit.core.calibration import Calibration
from quantkit.core.errors import BackendMissing, BadInput
from quantkit.core.presets import preset
from quantkit.pipeline.calibration import ray as cluster
from quantkit.pipeline.calibration.stage import calibrate
from tests.conftest import write_images

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def on_ray(model: Path, data: Path, folder: Path | None, advanced: Callable[[int], None] = lambda count: None) -> Any:
    @contextmanager
    def progress(description: str, total: int, unit: str, done: int = 0) -> Iterator[Callable[[int], None]]:
        yield advanced

    config = parse_config(
        {"model": {"path": model}, "data": {"calibration": data}, "preprocess": preset("imagenet-stretch")}, "a test"
    )
    count_all = cluster.counted_on_ray("auto")
    return calibrate(config, folder, in_memory=folder is None, progress=progress, count_all=count_all)


def busy_workers() -> list[int]:
    """Processes that are counting a shard at this moment."""
    titles = {int(file.parent.name): file.read_text() for file in Path("/proc").glob("[0-9]*/cmdline")}
    return [pid for pid, title in titles.items() if title.startswith("ray::count_shard")]


def assert_same(a: Calibration, b: Calibration) -> None:
    assert a.tensors == b.tensors
    assert (a.data, a.samples, a.warnings) == (b.data, b.samples, b.warnings)
    assert a.collected.extents == b.collected.extents
    for name, histogram in a.histograms.items():
        other = b.histograms[name]
        assert np.array_equal(histogram.positive, other.positive)
        assert np.array_equal(histogram.negative, other.negative)
        assert histogram.moving == other.moving
        assert np.array_equal(a.channels[name].total, b.channels[name].total)


def test_a_lost_worker_costs_nothing_but_time(
    two_nodes: Any, model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "SAMPLES_A_SHARD", 3)
    images = write_images(tmp_path / "many", per_class=20)
    advances: list[int] = []
    killed: list[int] = []

    def kill_one_at_first(count: int) -> None:
        advances.append(count)
        if not killed:
            for pid in busy_workers()[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    found = on_ray(model_path, images, None, kill_one_at_first)
    assert killed
    assert len(advances) == 20
    assert sum(advances) == 60
    assert_same(found, qk.calibrate(model_path, images))


def test_an_interrupted_run_goes_on_with_the_shards_that_are_left(
    two_nodes: Any, model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "SAMPLES_A_SHARD", 3)
    images = write_images(tmp_path / "many", per_class=6)
    first: list[int] = []

    def interrupt(count: int) -> None:
        first.append(count)
        if len(first) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        on_ray(model_path, images, tmp_path / "run", interrupt)
    second: list[int] = []
    found = on_ray(model_path, images, tmp_path / "run", second.append)
    assert sum(first) + sum(second) == 18
    assert not (tmp_path / "run" / ".partial").exists()
    assert_same(found, qk.calibrate(model_path, images))


def test_what_is_wrong_on_a_worker_is_said_here(two_nodes: Any, model_path: Path, tmp_path: Path) -> None:
    values = np.ones((20, 3, 16, 16), np.float32)
    values[17, 0, 0, 0] = np.nan
    np.save(tmp_path / "bad.npy", values)
    with pytest.raises(BadInput, match="holds nan for"):
        on_ray(model_path, tmp_path / "bad.npy", None)


def test_no_cluster_is_a_missing_backend(model_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **options: (_ for _ in ()).throw(ConnectionError("no one there")))
    with pytest.raises(BackendMissing, match=r"no Ray cluster at 10\.0\.0\.1"):
        config = parse_config({"model": {"path": model_path}, "data": {"calibration": images}}, "a test")
        calibrate(config, None, in_memory=True, count_all=cluster.counted_on_ray("10.0.0.1"))
