"""The ``tensorrt`` target: Q/DQ ONNX, calibration cache and dynamic ranges."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

from quantkit.core.artifact import Artifact
from quantkit.core.calibration import Calibration
from quantkit.core.errors import BackendMissing
from quantkit.core.files import write_text
from quantkit.core.wording import some
from quantkit.formats.dynamic_ranges import ranges_text
from quantkit.formats.tensorrt_cache import ENTROPY, MINMAX, cache_text
from quantkit.model.file import ModelFile
from quantkit.targets.base import Availability, Session

DEFAULT_VERSION = "8.6.0"  # the release whose calibrator quantkit reproduces
CACHE_FILE = "calibration.cache"
RANGES_FILE = "dynamic_ranges.txt"
NO_ENGINES = "this version of quantkit writes TensorRT's files but does not build engines"
USE_TRTEXEC = "Build with: trtexec --onnx=artifacts/tensorrt/int8/model.onnx --int8"


class TensorRT:
    """Writes what TensorRT 8 to 11 take, on any machine. ``version`` stands in the cache's first line."""

    name = "tensorrt"
    precisions = ("int8",)

    def __init__(self, version: str = DEFAULT_VERSION) -> None:
        self.version = version

    def availability(self) -> Availability:
        """Engines are not built here."""
        return Availability(False, reason=NO_ENGINES, mend=USE_TRTEXEC)

    def can_export(self) -> bool:
        """Always: no TensorRT is needed."""
        return True

    def devices(self) -> tuple[str, ...]:
        """None."""
        return ()

    def export(self, model: ModelFile, calibration: Calibration, precision: str, folder: Path) -> Artifact:
        """Q/DQ ``model.onnx`` for TensorRT 8.6 to 11, ``calibration.cache`` and ``dynamic_ranges.txt`` for 8 to 10."""
        from quantkit.model.qdq_tensorrt import quantized_for_tensorrt
        from quantkit.model.save import save_model

        save_model(quantized_for_tensorrt(model, calibration.ranges, calibration.exclude), folder)
        models = sorted(folder.iterdir())
        amax = {name: tensor.amax for name, tensor in calibration.ranges.items()}
        algorithm = MINMAX if calibration.method == "minmax" else ENTROPY
        write_text(folder / CACHE_FILE, cache_text(amax, self.version, algorithm))
        write_text(folder / RANGES_FILE, ranges_text(amax))
        notes = _lacking(model, calibration)
        return Artifact(self.name, precision, (*models, folder / CACHE_FILE, folder / RANGES_FILE), notes)

    def load(self, artifact: Artifact, device: str) -> Session:
        """Not possible: raises BackendMissing."""
        raise BackendMissing(f"{artifact.path} cannot be run: {NO_ENGINES}.", USE_TRTEXEC)


def _lacking(model: ModelFile, calibration: Calibration) -> tuple[str, ...]:
    """A note on the tensors that --tensors quantizable left out: Q/DQ needs none of them, implicit quantization all."""
    from quantkit.model.quantizable import fused_outputs

    lack = [
        name
        for name in fused_outputs(model.graph_only.graph)
        if name not in calibration.ranges and not any(fnmatchcase(name, pattern) for pattern in calibration.exclude)
    ]
    if not lack:
        return ()
    return (
        f"{CACHE_FILE} and {RANGES_FILE} lack {len(lack)} tensors ({some(lack)}), which TensorRT's implicit mode "
        "wants; calibrate with --tensors all to use them. The Q/DQ model is complete.",
    )
