"""A target as someone else would write it: ONNX's own evaluator, with Q/DQ files as ONNX Runtime takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import version_converter
from onnx.reference import ReferenceEvaluator
from pydantic import Field

from quantkit.core.artifact import PRECISIONS, Artifact
from quantkit.core.errors import BackendMissing
from quantkit.core.recipe import Recipe
from quantkit.core.record import Record
from quantkit.graph.model_file import ModelFile
from quantkit.graph.save import save_model
from quantkit.targets import Availability, Session, Target
from quantkit.targets.base import canonical_device, failed_on, summarize_precisions
from quantkit.targets.onnxruntime.qdq import quantized_for_onnxruntime
from quantkit.transforms.half_precision import half_precision


class ReferenceSettings(Record):
    """``[targets.reference]``: 7 or 8 bits for weights."""

    weight_bits: int = Field(default=8, ge=7, le=8)


class ReferenceRuntime(Target):
    """The ``reference`` target."""

    name = "reference"
    precisions = PRECISIONS
    Settings = ReferenceSettings

    def __init__(self, settings: ReferenceSettings) -> None:
        self.settings = settings

    def availability(self) -> Availability:
        return Availability(True, onnx.__version__)

    def devices(self) -> tuple[str, ...]:
        return ("CPU",)

    def fingerprint(self, precision: str) -> str:
        return f"{self.settings.weight_bits} bits" if precision == "int8" else ""

    def is_users_own(self, precision: str) -> bool:
        return precision == "fp32"

    def export(self, model: ModelFile, recipe: Recipe, precision: str, folder: Path, variant: str = "") -> Artifact:
        if precision == "fp32":
            return Artifact(self.name, precision, (model.path, *model.external_files))
        seven = self.settings.weight_bits == 7
        save_model(
            half_precision(model).proto
            if precision == "fp16"
            else quantized_for_onnxruntime(
                model, recipe.quantized_ranges, recipe.exclude, recipe.channels, seven
            ).proto,
            folder,
        )
        return Artifact(self.name, precision, tuple(sorted(folder.iterdir())))

    def load(self, artifact: Artifact, device: str) -> Session:
        if canonical_device(device) not in self.devices():
            raise BackendMissing(f"The evaluator has no device {device!r}.", "Use --device CPU.")
        return _Session(artifact.path)


class _Session:
    def __init__(self, path: Path) -> None:
        # The evaluator knows Q/DQ of opset 19 and newer.
        self._proto = version_converter.convert_version(onnx.load(str(path)), 21)
        self._evaluator = ReferenceEvaluator(self._proto)

    @property
    def executed_precision(self) -> str:
        """Nothing is fused here: a product is INT8 where both operands come out of a DequantizeLinear."""
        graph = self._proto.graph
        dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
        half = {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
        counts: Counter[str] = Counter()
        for node in graph.node:
            if node.op_type in ("Conv", "Gemm", "MatMul"):
                counts[
                    "int8" if dequantized.issuperset(node.input[:2]) else "f16" if node.input[1] in half else "f32"
                ] += 1
        return summarize_precisions(counts)

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        try:
            with np.errstate(all="ignore"):
                found = self._evaluator.run(None, dict(inputs))
        except Exception as error:
            raise failed_on(inputs, "ONNX's evaluator", error) from error
        return dict(zip(self._evaluator.output_names, found, strict=True))
