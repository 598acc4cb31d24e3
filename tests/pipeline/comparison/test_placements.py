from __future__ import annotations

import json
from pathlib import Path

import pytest

from quantkit.api import calibrate, compare
from quantkit.config import DEFAULT_METHOD
from quantkit.deployment import export
from quantkit.pipeline.run_files import load_comparison
from quantkit.targets.openvino import OpenVinoSettings
from tests.conftest import Quantkit

pytest.importorskip("openvino")
pytest.importorskip("nncf")
pytestmark = pytest.mark.openvino


def test_one_comparison_holds_both_placements(model_path: Path, images: Path, tmp_path: Path) -> None:
    calibration = calibrate(model_path, images, output=tmp_path / "run")
    both = OpenVinoSettings(placement=["qdq", "nncf"], threads=1)
    rows = compare(calibration, images, targets=["openvino"], precisions=["int8"], openvino=both).rows
    made = [(row.precision, row.variant) for row in rows]
    assert made == [("fp32", ""), *(("int8", f"{DEFAULT_METHOD}, {placement}") for placement in ("qdq", "nncf"))]
    for row in rows:
        assert row.runtime["threads"] == "1"
        assert row.layers and all(layer.ms >= 0 for layer in row.layers)
    assert {layer.meant for layer in rows[0].layers} == {""}
    for row, meant in zip(rows[1:], (["conv2"], ["conv1", "conv2", "fc"]), strict=True):
        assert [layer.name for layer in row.layers if layer.meant] == meant
        assert row.sqnr_db is not None and row.sqnr_db > 20
    assert rows[1].size_bytes != rows[2].size_bytes
    loaded = load_comparison(tmp_path / "run")
    assert loaded.rows == rows


def test_the_first_placement_goes_to_int8_and_another_beside_it(model_path: Path, images: Path, tmp_path: Path) -> None:
    calibration = calibrate(model_path, images)
    for placement, folders in ((["nncf"], {"int8"}), (["qdq", "nncf"], {"int8", "int8-nncf"})):
        output = tmp_path / "-".join(placement)
        artifacts = export(calibration, "openvino", output=output, openvino=OpenVinoSettings(placement=placement))
        assert [artifact.variant for artifact in artifacts] == placement
        assert {own.name for own in (output / "openvino").iterdir() if own.is_dir()} == folders


def test_a_placement_is_remembered_and_replaces_files_of_another(
    invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path
) -> None:
    assert invoked("calibrate", model_path, "--data", images, "-o", "out", "--placement", "nncf").returncode == 0
    record = tmp_path / "out" / "artifacts" / "openvino" / "int8" / "artifact.json"
    assert json.loads(record.read_text())["variant"] == "nncf"
    done = invoked("export", "out", "--target", "openvino", "--precision", "int8", "--json")
    assert done.returncode == 0, done.stderr
    json.loads(done.stdout)
    assert json.loads(record.read_text())["variant"] == "nncf"
    assert invoked("export", "out", "--target", "openvino", "--placement", "qdq", "-q").returncode == 0
    assert json.loads(record.read_text())["variant"] == "qdq"
    wrong = invoked("export", "out", "--placement", "best")
    assert wrong.returncode == 2
    assert "'qdq' or 'nncf'" in wrong.stderr
