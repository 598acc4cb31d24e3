"""Where accuracy is lost: the error of each layer's output in INT8 against FP32, on a few evaluation samples.

FP32 is the user's model in onnxruntime. Equalized tensors are divided by their factors before the comparison, so every
figure refers to the model's own values. A corrected bias counts as part of the INT8 model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.artifact import Artifact
from quantkit.core.calibration import Calibration
from quantkit.core.comparison import LAYER_SAMPLES, LayerError
from quantkit.core.decibels import decibels, energy, noise_energy
from quantkit.core.errors import QuantkitError
from quantkit.core.progress import Progress, silent
from quantkit.core.wording import line_of
from quantkit.datasets import Dataset, Stream
from quantkit.datasets.stream import BatchAxes
from quantkit.graph.model_file import ModelFile
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.export import export
from quantkit.runtime.layer_outputs import Layer, OnnxOutputs, layers_of
from quantkit.targets import LayerOutputs
from quantkit.transforms.equalized import Undo

BYTES_AT_ONCE = 128 * 2**20  # of FP32's outputs, and as much again for one INT8 model
UNKNOWN_VALUES = 2**20  # assumed for a tensor without a histogram


@dataclass(eq=False)
class _Study:
    """An INT8 candidate, and the noise in its tensors so far."""

    candidate: Candidate
    artifact: Artifact
    undo: Undo
    noise: dict[str, float] = field(default_factory=dict)
    failed: bool = False
    outputs: LayerOutputs | None = None

    def open(self, tensors: Collection[str]) -> None:
        """Load the candidate with these tensors as outputs, replacing earlier ones."""
        self.outputs = None
        self.outputs = self.candidate.target.layer_outputs(self.artifact, tensors)

    def update(self, expected: Mapping[str, npt.NDArray[Any]], inputs: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add one batch, for which FP32 computes ``expected``.

        Tensors of another shape do not correspond and are skipped.
        """
        assert self.outputs is not None
        for name, values in self.outputs.infer(inputs).items():
            if values.shape == expected[name].shape:
                more = noise_energy(expected[name], self.undo(name, values))
                self.noise[name] = self.noise.get(name, 0.0) + more

    def guarded(self, step: Callable[..., None], *arguments: Any) -> list[str]:
        """Run a step unless an earlier one failed. Return a warning if it fails."""
        if self.failed:
            return []
        try:
            step(*arguments)
        except (QuantkitError, RuntimeError) as refusal:
            self.failed, self.outputs = True, None
            return [_missing(self.artifact.target, refusal)]
        return []


@dataclass(frozen=True)
class LayerSamples:
    """The samples to measure layers on.

    Attributes:
        dataset: The data set.
        indices: The indices of its readable samples; ``LAYER_SAMPLES`` spread over them are used.
        batch: The number of samples in one run of the model.
        axes: The batch axis of each input.
    """

    dataset: Dataset
    indices: Sequence[int]
    batch: int
    axes: BatchAxes = field(default_factory=dict)

    def stream(self) -> Stream:
        """Make a stream of the samples to use."""
        return Stream(self.dataset, self._spread(), self.axes)

    def __len__(self) -> int:
        return len(self._spread())

    def _spread(self) -> list[int]:
        positions = np.linspace(0, len(self.indices) - 1, min(LAYER_SAMPLES, len(self.indices)))
        return [self.indices[int(position)] for position in positions]


def measure_layers(
    candidates: Sequence[Candidate],
    model: ModelFile,
    samples: LayerSamples,
    progress: Progress = silent,
) -> tuple[dict[str, tuple[LayerError, ...]], list[str]]:
    """Measure the layer errors of INT8 candidates. Tensors are measured in groups of at most ``BYTES_AT_ONCE``.

    Args:
        candidates: All candidates.
        model: The user's model.
        samples: The samples to measure on.
        progress: Displays the progress.

    Returns:
        The layer errors by candidate key, and a warning for each candidate that could not be measured.
    """
    studies, warnings = _studies(candidates, model, progress)
    if not studies:
        return {}, warnings
    layers = layers_of(model.graph_only.graph)
    groups = _groups(layers, studies[0].candidate.recipe.calibration, samples.batch)
    signal: dict[str, float] = {}
    with progress("layers", len(groups) * len(samples), "samples") as advance:
        for group in groups:
            tensors = {layer.tensor: layer.tensor for layer in group}
            try:
                reference = OnnxOutputs(model.source, model.graph_only, model.is_external, tensors)
                for study in studies:
                    warnings += study.guarded(study.open, reference.names)
                for batch in samples.stream().batches(samples.batch):
                    inputs = batch.resized(samples.batch)  # an incomplete last batch repeats samples
                    expected = reference.infer(inputs)
                    for name, values in expected.items():
                        signal[name] = signal.get(name, 0.0) + energy(values)
                    for study in studies:
                        warnings += study.guarded(study.update, expected, inputs)
                    advance(len(batch.indices))
            except QuantkitError as refusal:
                return {}, [*warnings, _missing("any target", refusal)]
    errors = {
        study.candidate.key: tuple(
            LayerError(
                name=layer.name,
                tensor=layer.tensor,
                kind=layer.kind,
                sqnr_db=decibels(signal[layer.tensor], study.noise[layer.tensor]),
            )
            for layer in layers
            if layer.tensor in study.noise
        )
        for study in studies
        if not study.failed
    }
    return errors, warnings


def _studies(candidates: Sequence[Candidate], model: ModelFile, progress: Progress) -> tuple[list[_Study], list[str]]:
    studies, warnings = [], []
    for candidate in candidates:
        if candidate.artifact.precision != "int8":
            continue
        try:
            artifact, recipe = candidate.artifact, candidate.recipe
            if candidate.target.layers_from_export:
                artifact = export(recipe, [candidate.target], ["int8"], candidate.artifacts, progress)[0]
            factors = candidate.target.factors(model.with_weights(recipe.weights), recipe, artifact)
            studies.append(_Study(candidate, artifact, Undo(model.graph_only.graph, factors)))
        except QuantkitError as refusal:
            warnings.append(_missing(candidate.artifact.target, refusal))
    return studies, warnings


def _groups(layers: Sequence[Layer], calibration: Calibration, batch: int) -> list[list[Layer]]:
    """Divide the layers, in order, into groups of at most ``BYTES_AT_ONCE``; a larger layer is a group by itself."""
    groups: list[list[Layer]] = []
    room = 0
    for layer in layers:
        histogram = calibration.histograms.get(layer.tensor)
        values = histogram.total // max(calibration.samples, 1) if histogram else UNKNOWN_VALUES
        size = 4 * values * batch
        if not groups or size > room:
            groups.append([])
            room = BYTES_AT_ONCE
        groups[-1].append(layer)
        room -= size
    return groups


def _missing(target: str, refusal: Exception) -> str:
    what = refusal.what if isinstance(refusal, QuantkitError) else f"it failed ({line_of(refusal, last=True)})."
    return f"The accuracy of layers is not measured for {target}: {what}"
