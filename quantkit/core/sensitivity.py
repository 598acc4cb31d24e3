"""How much each layer of a quantized model loses by itself: the contents of ``sensitivity.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt

from quantkit.core.comparison import Environment, OutputError, Share
from quantkit.core.figures import Metric
from quantkit.core.record import Record

SENSITIVITY_FILE = "sensitivity.json"
SENSITIVITY_SAMPLES = 100  # at most, unless the user says how many


class Loss(Record):
    """How far the outputs of one way to quantize the model are from those in floating point.

    Attributes:
        sqnr_db: 10·log10(Σ ref² / Σ (ref - x)²) of the worst output or part of one; None if all are bit-exact, -300 if
            one is not finite.
        kl: The mean Kullback-Leibler divergence of the class shares from FP32's, in nats; None for other tasks, and if
            scores are not finite.
        agreement: The share of answers equal to FP32's; None if the task has no answers.
        metrics: The task's metrics; of labelled samples, unless the task needs no labels.
        drop: How much each metric is worse than FP32's.
        outputs: The errors of outputs and their parts, if there are several.
    """

    sqnr_db: float | None
    kl: float | None = None
    agreement: Share | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    drop: dict[str, float] = Field(default_factory=dict)
    outputs: tuple[OutputError, ...] = ()


class LayerSensitivity(Record):
    """What one layer's rounding does: of the tensors that it reads, of its weight and of its bias.

    Attributes:
        name: The name of the node.
        kind: The operator.
        tensor: Its output in the user's model, behind what is fused into its kernel.
        place: Its number among the quantized layers in the model's order, from 1.
        only: The loss if it alone is quantized.
        all_but: The loss if everything else is quantized.
        gain_db: How much SQNR the quantized model gains if this layer stays in floating point; None if either SQNR is
            unknown.
    """

    name: str
    kind: str
    tensor: str
    place: PositiveInt
    only: Loss
    all_but: Loss
    gain_db: float | None = None


class Sensitivity(Record):
    """The contents of ``sensitivity.json``.

    Attributes:
        model: The path of the model.
        recipe: The digest of the model, ranges, exclusions and weights, by which a later reader tells if it is stale.
        target: The target whose INT8 was simulated.
        data: The path of the samples.
        data_sha256: The digest over the stored bytes of all samples, in order.
        samples: The number of samples.
        labelled: The number of those whose label was used.
        task: The name of the task.
        metrics: The task's metrics.
        floating: The task's metrics in floating point.
        int8: The loss if everything is quantized.
        layers: The layers, the one that loses most by itself first.
        seconds: How long the measurement took.
        environment: The machine and the versions.
        folder: The run directory that it was saved to or loaded from; None if it is only in memory.
    """

    schema_version: Literal[1] = 1
    model: str
    recipe: str
    target: str
    data: str
    data_sha256: str
    samples: PositiveInt
    labelled: int
    task: str
    metrics: tuple[Metric, ...] = ()
    floating: dict[str, float] = Field(default_factory=dict)
    int8: Loss
    layers: tuple[LayerSensitivity, ...] = Field(min_length=1)
    seconds: float
    environment: Environment
    warnings: tuple[str, ...] = ()

    folder: Path | None = Field(default=None, exclude=True, repr=False)

    def __repr__(self) -> str:
        return f"Sensitivity({self.model}, {self.target}, {len(self.layers)} layers)"
