"""Samples that are far from one another are chosen, and the same ones each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import quantkit as qk
from quantkit.core.errors import BadConfig
from quantkit.datasets.select import diverse_choice
from tests.conftest import Quantkit, tiny_model, write_images

RNG = np.random.default_rng(4)


def test_every_cluster_is_met_before_any_twice() -> None:
    centres = RNG.standard_normal((12, 6)) * 20
    features = np.repeat(centres, 30, axis=0) + RNG.standard_normal((360, 6)) * 0.01
    order = RNG.permutation(360)
    chosen = diverse_choice(features[order].astype(np.float32), 12)
    assert sorted(order[chosen] // 30) == list(range(12))


@pytest.mark.parametrize("wanted", [None, 5, 50])
def test_no_sample_is_chosen_twice(wanted: int | None) -> None:
    features = np.repeat(RNG.standard_normal((3, 4)), 7, axis=0).astype(np.float32)  # with copies of one another
    chosen = diverse_choice(features, wanted)
    assert len(set(chosen.tolist())) == len(chosen) == min(21, wanted or 21)


def test_constant_features_are_no_obstacle() -> None:
    assert len(diverse_choice(np.ones((5, 3), np.float32), 3)) == 3
    assert len(diverse_choice(np.zeros((0, 3), np.float32), 3)) == 0


def test_the_command_line_chooses_and_remembers(invoked: Quantkit, tmp_path: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "m.onnx")
    write_images(tmp_path / "imgs", per_class=12)
    chosen = {}
    for way in ("random", "balanced", "diverse", "diverse"):
        done = invoked(
            "calibrate", "m.onnx", "--data", "imgs", "--samples", "6", "--select", way, "-o", way, "--no-export",
            "--fresh", XDG_CACHE_HOME=str(tmp_path / "cache"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = qk.load_calibration(tmp_path / way)
        assert found.samples == 6
        assert chosen.setdefault(way, found.data.sha256) == found.data.sha256
    assert len(set(chosen.values())) == 3
    assert "6 of 36 samples were chosen" in done.stderr
    assert "asked for" not in done.stderr  # there are as many as are wanted, though not ten times as many
    assert len(list((tmp_path / "cache" / "quantkit" / "features").iterdir())) == 1


def test_an_unknown_way_is_an_error(tmp_path: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "m.onnx")
    with pytest.raises(BadConfig, match="select"):
        qk.calibrate(tmp_path / "m.onnx", RNG.standard_normal((4, 3, 16, 16)).astype(np.float32), select="best")
