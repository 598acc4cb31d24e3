"""A target from someone else's installed package keeps every promise, and every verb knows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import quantkit
from quantkit.core.errors import BadConfig
from quantkit.targets import all_targets, targets_named
from tests.conftest import Quantkit
from tests.packages import Install
from tests.targets.reference_runtime import ReferenceRuntime, ReferenceSettings
from tests.targets.template import RunnableTarget


class TestReferenceRuntime(RunnableTarget):
    target = ReferenceRuntime(ReferenceSettings())


@pytest.fixture
def reference(install: Install) -> None:
    install("reference_target", "", "quantkit.targets", reference="tests.targets.reference_runtime:ReferenceRuntime")


@pytest.mark.usefixtures("reference")
def test_every_verb_knows_it(invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path) -> None:
    data = f'[data]\ncalibration = "{images.name}"\nevaluation = "{images.name}"\n'
    table = '[compare]\ntargets = ["onnxruntime", "reference"]\n[targets.reference]\nweight_bits = 7\n'
    rules = '[[gate]]\nmetric = "agreement"\ntarget = "reference"\nmin = 0.9\n'
    (tmp_path / "quantkit.toml").write_text(f'[model]\npath = "{model_path.name}"\n{data}{table}{rules}')
    done = invoked("run", "-o", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "out" / "comparison.json").read_text())["rows"]
    assert {(row["target"], row["precision"]) for row in rows} == {
        (target, precision) for target in ("onnxruntime", "reference") for precision in ("fp32", "fp16", "int8")
    }
    assert "reference" in (tmp_path / "out" / "report.html").read_text()
    model = onnx.load(str(tmp_path / "out" / "artifacts" / "reference" / "int8" / "model.onnx"))
    weights = [numpy_helper.to_array(one) for one in model.graph.initializer if one.name.endswith("_quantized")]
    assert max(np.abs(one.astype(int)).max() for one in weights if one.dtype == np.int8) <= 64  # its own setting
    assert "reference" in invoked("doctor").stdout
    done = invoked("export", "out", "--target", "reference", "--precision", "fp16", "-o", "files")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "files" / "reference" / "fp16" / "model.onnx").is_file()


@pytest.mark.usefixtures("reference")
def test_another_setting_makes_other_files(model_path: Path, images: Path, tmp_path: Path) -> None:
    from quantkit.core.recipe import Recipe
    from quantkit.pipeline.export import export

    recipe = Recipe.of(quantkit.calibrate(model_path, images))

    def exported(bits: int) -> tuple[bytes, int]:
        targets = targets_named(["reference"], {"reference": {"weight_bits": bits}})
        (artifact,) = export(recipe, targets, ["int8"], tmp_path / "out")
        return artifact.path.read_bytes(), artifact.path.stat().st_mtime_ns

    first = exported(8)
    assert exported(8) == first  # used again
    assert exported(7)[0] != first[0]


@pytest.mark.usefixtures("reference")
def test_a_key_that_it_does_not_know_is_refused() -> None:
    with pytest.raises(BadConfig, match=r"'weight_bits' of \[targets.reference\] is wrong"):
        all_targets({"reference": {"weight_bits": 4}})
    with pytest.raises(BadConfig, match=r"'bits' of \[targets.reference\] is wrong") as refused:
        all_targets({"reference": {"bits": 8}})
    assert refused.value.hint == "Known keys: weight_bits."


def test_settings_of_a_target_that_is_not_there_are_refused() -> None:
    with pytest.raises(BadConfig, match="There is no target 'reference' to be set"):
        all_targets({"reference": {}})


def test_one_that_does_not_load_is_named(install: Install) -> None:
    install("broken_target", "raise OSError('no driver')", "quantkit.targets", broken="Broken")
    with pytest.raises(BadConfig, match=r"The target 'broken' \(broken_target:Broken\) does not load: no driver"):
        all_targets()
