"""What every target that runs models promises; each target's test module subclasses this."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from quantkit.api import calibrate
from quantkit.core.artifact import Artifact
from quantkit.core.calibration import Calibration
from quantkit.core.errors import BackendMissing
from quantkit.core.recipe import Recipe
from quantkit.graph.model_file import open_model
from quantkit.targets import Target

X = {"input": np.random.default_rng(5).standard_normal((1, 3, 16, 16)).astype(np.float32)}


class RunnableTarget:
    """Subclasses set ``target``."""

    target: Target

    @pytest.fixture
    def calibration(self, model_path: Path, images: Path) -> Calibration:
        return calibrate(model_path, images)

    def exported(self, calibration: Calibration, precision: str, folder: Path) -> Artifact:
        folder.mkdir(parents=True)
        return self.target.export(open_model(Path(calibration.model.path)), Recipe.of(calibration), precision, folder)

    def test_it_works_here_and_names_its_devices(self) -> None:
        assert self.target.availability().works
        assert self.target.availability().version
        assert self.target.devices()[0] == "CPU"

    @pytest.mark.parametrize(("precision", "least_db"), [("fp32", 90), ("fp16", 45), ("int8", 20)])
    def test_outputs_stay_close_to_fp32(
        self, calibration: Calibration, tmp_path: Path, precision: str, least_db: float
    ) -> None:
        artifact = self.exported(calibration, precision, tmp_path / "out")
        assert artifact.path.is_file()
        assert artifact.size_bytes > 0
        session = self.target.load(artifact, "CPU")
        reference = ort.InferenceSession(calibration.model.path).run(None, X)[0]
        got = session.infer(X)["logits"]
        noise = ((reference - got) ** 2).sum() + 1e-20
        assert 10 * np.log10((reference**2).sum() / noise) > least_db
        assert ("int8" in session.executed_precision) == (precision == "int8")

    def test_fp32_is_told_by_its_true_name(self, calibration: Calibration, tmp_path: Path) -> None:
        session = self.target.load(self.exported(calibration, "fp32", tmp_path / "out"), "CPU")
        assert session.executed_precision == "f32"

    def test_outputs_survive_the_next_inference(self, calibration: Calibration, tmp_path: Path) -> None:
        session = self.target.load(self.exported(calibration, "fp32", tmp_path / "out"), "CPU")
        first = session.infer(X)["logits"]
        kept = first.copy()
        session.infer({"input": -X["input"]})
        assert np.array_equal(first, kept)

    def test_an_absent_device_is_named(self, calibration: Calibration, tmp_path: Path) -> None:
        artifact = self.exported(calibration, "fp32", tmp_path / "out")
        with pytest.raises(BackendMissing, match="'TPU'"):
            self.target.load(artifact, "TPU")

    @pytest.mark.parametrize("device", ["cpu", "Cpu"])
    def test_a_device_is_known_in_any_case(self, calibration: Calibration, tmp_path: Path, device: str) -> None:
        session = self.target.load(self.exported(calibration, "fp32", tmp_path / "out"), device)
        assert session.infer(X)["logits"].shape == (1, 3)

    def test_everything_excluded_stays_in_floating_point(self, model_path: Path, images: Path, tmp_path: Path) -> None:
        calibration = calibrate(model_path, images, exclude=["conv*", "bn1", "fc"])
        session = self.target.load(self.exported(calibration, "int8", tmp_path / "out"), "CPU")
        assert session.executed_precision == "f32"
