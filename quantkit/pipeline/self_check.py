"""Checks an artifact before it is said to be written: its files load, and on one sample its outputs are no noise."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from quantkit.core.artifact import Artifact
from quantkit.core.decibels import FAR_DB, NOT_FINITE_DB, decibels, energy, noise_energy
from quantkit.core.errors import BackendMissing, BadInput, TargetRefuses
from quantkit.core.wording import line_of
from quantkit.graph.model_file import ModelFile
from quantkit.runtime.reference import ReferenceSession
from quantkit.targets.base import Target

log = logging.getLogger("quantkit")

REFERENCE = "onnxruntime"  # whose FP32 all are measured against

Arrays = Mapping[str, npt.NDArray[Any]]


def check_onnx(file: Path) -> None:
    """Raise TargetRefuses unless ONNX's checker accepts a file, with all types and shapes that it can infer."""
    try:
        onnx.checker.check_model(str(file), full_check=True)
    except Exception as error:
        raise TargetRefuses(
            f"{file.name} is not valid ONNX ({line_of(error)}).",
            "Leave the node that it names out (--exclude, exclude=).",
        ) from error


class SelfCheck:
    """Checks artifacts of one model.

    Args:
        model: The model.
        sample: The first calibration sample, as the model takes it; None if it is not known.
    """

    def __init__(self, model: ModelFile, sample: Arrays | None) -> None:
        self._model, self._sample = model, sample
        self._reference: Arrays | None = None

    def warnings(self, target: Target, artifact: Artifact) -> tuple[str, ...]:
        """Load an artifact as its user will, and compute the sample.

        Args:
            target: The artifact's target.
            artifact: The artifact.

        Returns:
            A sentence if an output is far from the model's.

        Raises:
            TargetRefuses: The files are not valid, do not load, or do not run.
        """
        for file in artifact.files:
            if file.suffix == ".onnx" and self._is_valid:
                check_onnx(file)
        try:
            outputs = target.check(artifact, self._sample)
        except BackendMissing as missing:
            log.debug("%s for %s was not checked: %s", artifact.precision, target.name, missing)
            return ()
        except TargetRefuses as refusal:
            raise TargetRefuses(f"Its files do not work: {refusal.what}", refusal.hint) from refusal
        except BadInput as refusal:
            raise TargetRefuses(f"Its files do not run on the first sample: {refusal.what}", refusal.hint) from refusal
        worst = min(self._ratios(outputs).items(), key=lambda item: item[1], default=None)
        if worst is None or worst[1] >= FAR_DB:
            return ()
        if artifact.precision == "int8":
            hint = "measure it with quantkit compare, and leave layers in floating point (--exclude, exclude=)"
        elif target.name == REFERENCE:
            hint = f"{artifact.precision} does not hold this model's values"
        else:
            hint = f"{target.name} computes this model otherwise than {REFERENCE}"
        name, ratio = worst
        far = f"is {ratio:.1f} dB from FP32"
        if ratio <= NOT_FINITE_DB:
            far = "holds NaN or Inf, or noise where FP32 is zero"
        return (f"On the first calibration sample, the output {name!r} {far}: {hint}.",)

    @cached_property
    def _is_valid(self) -> bool:
        """True if ONNX's checker accepts the user's own model, and so has to accept what is made of it."""
        try:
            check_onnx(self._model.source)
        except TargetRefuses as refusal:
            log.debug("The files are not checked with onnx.checker: %s", refusal)
            return False
        return True

    def _ratios(self, outputs: Arrays | None) -> dict[str, float]:
        """Return the SQNR, in dB, of every float output of the shape that the model gives."""
        if outputs is None or self._sample is None:
            return {}
        if self._reference is None:
            try:
                self._reference = ReferenceSession.of(self._model).infer(self._sample)
            except BadInput as error:
                log.debug("The model itself was not run on the first sample: %s", error)
                self._reference = {}
        found = {}
        for name, exact in self._reference.items():
            own = outputs.get(name)
            if not isinstance(exact, np.ndarray) or not isinstance(own, np.ndarray):
                continue  # a sequence of tensors
            if exact.dtype.kind == "f" and exact.shape == own.shape and exact.size:
                finite = np.isfinite(exact)
                expected, other = np.where(finite, exact, 0), np.where(finite, own, 0)
                ratio = decibels(energy(expected), noise_energy(expected, other))
                if ratio is not None:
                    found[name] = ratio
        return found
