"""The ``onnxruntime`` target on the CPU: FP32 is the user's own file, FP16 and INT8 are ONNX files made from it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.core.artifact import PRECISIONS, Artifact
from quantkit.core.errors import BackendMissing, TargetRefuses
from quantkit.core.recipe import Recipe
from quantkit.core.record import Record
from quantkit.core.wording import line_of, some
from quantkit.graph.model_file import ModelFile
from quantkit.graph.operators import WEIGHTED
from quantkit.qdq.layers import Quantized
from quantkit.targets.base import Availability, Target, canonical_device, failed_on, summarize_precisions
from quantkit.targets.cpu import saturates_u8s8, usable_cores
from quantkit.targets.handoff import HandOff, HandOffRequest
from quantkit.targets.parsing import Parsing
from quantkit.targets.session import LayerOutputs, Served, Session, served_in_threads
from quantkit.transforms.equalized import Equalized

FLOATING = WEIGHTED | {"FusedConv", "FusedGemm", "FusedMatMul"}
WARM_UP = 3
INTEGER = ("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger", "MatMulIntegerToFloat")


class OnnxRuntime(Target):
    """The ``onnxruntime`` target. It is always available, because quantkit itself needs onnxruntime."""

    name = "onnxruntime"
    precisions = PRECISIONS
    is_reference = True

    def __init__(self, settings: Record | None = None) -> None:
        """Accept settings as every target does; this one has none."""

    def availability(self) -> Availability:
        """Tell that the target works, with onnxruntime's version."""
        import onnxruntime

        return Availability(True, onnxruntime.__version__)

    def devices(self) -> tuple[str, ...]:
        """Return the CPU."""
        return ("CPU",)

    def fingerprint(self, precision: str) -> str:
        """Return the release of onnxruntime, whose converter and quantizer write the files, and the bits of weights."""
        from onnxruntime import __version__

        return f"onnxruntime {__version__}" + (", 7-bit weights" if precision == "int8" and saturates_u8s8() else "")

    def parsings(self, path: Path, proto: onnx.ModelProto) -> list[Parsing]:
        """Make a session of the model."""
        from quantkit.targets.onnxruntime.parser import parsing_of

        return [parsing_of(path, proto)]

    def hand_off(self, request: HandOffRequest) -> HandOff:
        """Return how the files are computed, timed and served."""
        from quantkit.targets.onnxruntime.handoff import hand_off

        return hand_off(request)

    def is_users_own(self, precision: str) -> bool:
        """True for FP32, which is the user's file."""
        return precision == "fp32"

    def export(self, model: ModelFile, recipe: Recipe, precision: str, folder: Path, variant: str = "") -> Artifact:
        """Write ``model.onnx``; nothing is written for FP32, which is the user's file.

        Raises:
            TargetRefuses: onnxruntime lacks an operator, or the model cannot be converted to FP16, or not be quantized.
        """
        from quantkit.graph.save import save_model
        from quantkit.runtime.out_of_reach import out_of_reach
        from quantkit.transforms.half_precision import half_precision

        lacking = out_of_reach(model.graph_only, model.source).operators
        if lacking:
            raise TargetRefuses(
                f"onnxruntime has no operator for {some(lacking)}, which {model.path} uses.",
                "Export the model without it, or leave the target onnxruntime out.",
            )
        if precision == "fp32":
            return Artifact(self.name, precision, (model.path, *model.external_files))
        if precision == "fp16":
            half = half_precision(model, ranges=recipe.ranges)
            save_model(half.proto, folder)
            return Artifact(self.name, precision, tuple(sorted(folder.iterdir())), half.notes)
        quantized = self.quantized(model, recipe)
        save_model(quantized.proto, folder)
        notes = ("7-bit weights, because this CPU has no VNNI",) if saturates_u8s8() else ()
        return Artifact(self.name, precision, tuple(sorted(folder.iterdir())), notes, layers=quantized.layers)

    def quantized(self, model: ModelFile, recipe: Recipe) -> Quantized:
        """Return the Q/DQ model that INT8 is written as."""
        from quantkit.targets.onnxruntime.qdq import quantized_for_onnxruntime

        return quantized_for_onnxruntime(
            model,
            recipe.quantized_ranges,
            recipe.exclude,
            recipe.channels,
            saturates_u8s8(),
            recipe.histograms,
            recipe.refinements,
        )

    def load(self, artifact: Artifact, device: str) -> Session:
        """Load an artifact into a session with one thread for each core.

        Raises:
            BackendMissing: The device is not the CPU.
            TargetRefuses: onnxruntime cannot load the model.
        """
        if canonical_device(device) not in self.devices():
            raise BackendMissing(f"onnxruntime has no device {device!r} here.", "Use the device CPU.")
        return _Session(artifact)

    def layer_outputs(self, artifact: Artifact, tensors: Collection[str]) -> LayerOutputs:
        """Return the outputs of layers, computed by onnxruntime, which fuses less around a tensor that is an output."""
        from quantkit.runtime.layer_outputs import OnnxOutputs

        return OnnxOutputs.of_quantized(artifact.path, tensors)

    def floating(self, model: ModelFile, recipe: Recipe) -> Equalized:
        """Return the model that :meth:`quantized` places pairs in."""
        from quantkit.transforms.equalized import equalized

        return equalized(model, recipe.quantized_ranges, recipe.channels, sums=recipe.equalize_sums)

    def factors(self, model: ModelFile, recipe: Recipe, artifact: Artifact) -> Mapping[str, npt.NDArray[np.float64]]:
        """Return the factors of the equalization."""
        return self.floating(model, recipe).factors


class _Session:
    def __init__(self, artifact: Artifact) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 4  # a logged error is also raised, with the same text
        with tempfile.TemporaryDirectory(prefix="quantkit-") as folder:
            # The optimized graph shows what really runs: which Q/DQ pairs became integer kernels, and added casts.
            optimized = Path(folder) / "optimized.onnx"
            options.optimized_model_filepath = str(optimized)
            options.add_session_config_entry(
                "session.optimized_model_external_initializers_file_name", "optimized.data"
            )
            try:
                self._session = ort.InferenceSession(str(artifact.path), options, providers=["CPUExecutionProvider"])
            except Exception as error:
                raise TargetRefuses(
                    f"onnxruntime cannot load {artifact.path} ({line_of(error)}).",
                    "Check that the model runs in onnxruntime.",
                ) from error
            self.executed_precision = _executed_precision(optimized)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._path = artifact.path

    def serve(self, inputs: Mapping[str, npt.NDArray[Any]], streams: int, seconds: float) -> Served:
        """Answer requests in so many threads, among whose runs the cores are divided."""
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = max(1, usable_cores() // streams)
        session = ort.InferenceSession(str(self._path), options, providers=["CPUExecutionProvider"])
        feeds = dict(inputs)
        for _ in range(WARM_UP):
            session.run(None, feeds)
        return served_in_threads(lambda: session.run(None, feeds), streams, seconds)

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Run one batch; return the outputs by name."""
        try:
            return dict(zip(self._outputs, self._session.run(None, dict(inputs)), strict=True))
        except Exception as error:
            raise failed_on(inputs, "onnxruntime", error) from error


def _executed_precision(optimized: Path) -> str:
    from onnx import TensorProto

    graph = onnx.load(str(optimized), load_external_data=False).graph
    half = {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT16}
    counts: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type in INTEGER:
            counts["int8"] += 1
        elif node.op_type in FLOATING:
            counts["f16" if half & set(node.input) else "f32"] += 1
    return summarize_precisions(counts)
