"""Embeddings: are the same samples near one another as in FP32, and as people say?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Change
from quantkit.core.errors import BadConfig
from quantkit.core.figures import Metric
from quantkit.datasets.texts import Half
from quantkit.graph.model_file import ModelFile
from quantkit.graph.model_io import ModelInput
from quantkit.measure.intervals import clipped
from quantkit.measure.rank import spearman_change, spearman_interval
from quantkit.tasks.base import Outputs, Result, Task, TaskSettings
from quantkit.tasks.class_outputs import said_decision
from quantkit.tasks.fidelity import cosine
from quantkit.tasks.sample_scores import SampleScores

Floats = npt.NDArray[np.float32]
NEIGHBOURS = 10
MOST_COMPARED = 4096  # samples whose neighbours are looked for
ROWS_AT_ONCE = 512
SENTENCE = re.compile(r"sentence|embed", re.IGNORECASE)
POOLER = re.compile(r"pooler", re.IGNORECASE)  # BERT's own head, which most sentence encoders do not use


@dataclass(frozen=True)
class Pooling:
    """Where the embedding of a sample comes from.

    Attributes:
        output: The name of the output; None takes the first floating-point one.
        mean: "tokens" for the mean over tokens, where the attention mask is 1, "places" for that over height and width;
            empty for the output as it stands.
    """

    output: str | None = None
    mean: Literal["", "tokens", "places"] = ""

    def __str__(self) -> str:
        name = "the first output" if self.output is None else f"output {self.output}"
        over = {"tokens": "the tokens of the attention mask", "places": "height and width"}
        return f"the mean of {name} over {over[self.mean]}" if self.mean else f"{name} as it stands"


class Embedding(Task):
    """The task "embedding". An annotation is the half of a pair; without one, embeddings are compared with FP32's.

    Args:
        pooling: Where embeddings come from.
    """

    name = "embedding"
    has_answers = False
    metrics = (
        Metric(
            name="spearman",
            title="Spearman correlation",
            interval=True,
            hint="Rank correlation of the cosines of pairs with their scores",
        ),
        Metric(
            name="neighbours",
            title="shared neighbours",
            unit="share",
            interval=True,
            of_fp32=True,
            hint=f"Share of each sample's {NEIGHBOURS} nearest neighbours that are among FP32's {NEIGHBOURS}",
        ),
        Metric(
            name="nearest",
            title="same nearest neighbour",
            unit="share",
            interval=True,
            of_fp32=True,
            hint="Share of samples whose nearest neighbour is FP32's",
        ),
        Metric(
            name="cosine",
            title="cosine similarity",
            hint="Cosine of the angle between an embedding and FP32's, mean over samples",
            interval=True,
            of_fp32=True,
            digits=6,
        ),
    )

    def __init__(self, pooling: Pooling | None = None) -> None:
        self.pooling = pooling or Pooling()

    def fitted(self, model: ModelFile, settings: TaskSettings) -> Embedding:
        """Choose the output. Raises BadConfig if it is not certain which one holds embeddings."""
        if settings.only("output"):
            said_decision(model.outputs, settings.output, None, None)
        named = [own for own in model.outputs if own.name == settings.output]
        return Embedding(_pooling(named or model.outputs, bool(named)))

    @property
    def about(self) -> str:
        """Say what embeddings are."""
        return f"Embeddings: {self.pooling}."

    def decode(self, outputs: Outputs) -> Floats | None:
        """Return embeddings as if all tokens counted; see :meth:`answers`."""
        return self.answers(outputs, {})

    def answers(self, outputs: Outputs, inputs: Mapping[str, npt.NDArray[Any]]) -> Floats | None:
        """Return embeddings of length 1, (N, D) float32; None if the output is none.

        An embedding that is not finite, or zero, is zero.
        """
        floats = [name for name, values in outputs.items() if values.dtype.kind == "f"]
        name = self.pooling.output or next(iter(floats), "")
        if name not in floats:
            return None
        values = outputs[name].astype(np.float32)
        if self.pooling.mean == "tokens":
            values = _mean(values, inputs)
        elif self.pooling.mean == "places":
            values = values.mean(axis=(2, 3))
        values = values.reshape(len(values), -1)
        norms = np.linalg.norm(values, axis=1, keepdims=True)
        with np.errstate(all="ignore"):
            found: Floats = np.where(np.isfinite(norms) & (norms > 0), values / norms, 0)
        return np.nan_to_num(found)

    def scorer(self) -> EmbeddingScorer:
        """Make a scorer."""
        return EmbeddingScorer(self.metrics)


class EmbeddingScorer:
    """Keeps the embeddings of MOST_COMPARED samples for their neighbours, and the cosines of pairs."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics
        self._cosines: list[npt.NDArray[np.float64]] = []
        self._kept: list[tuple[Floats, Floats]] = []  # this model's and FP32's
        self._count = 0
        self._waiting: dict[int, tuple[Floats, Floats]] = {}  # first halves of pairs
        self._pairs: list[tuple[float, float, float]] = []  # cosine, FP32's cosine, score

    def update(self, answers: Floats, reference: Floats, annotations: Sequence[Any] | None) -> None:
        """Count one batch of both models' embeddings."""
        self._cosines.append(cosine(reference, answers))
        room = max(MOST_COMPARED - self._count, 0)
        if room:
            self._kept.append((answers[:room].copy(), reference[:room].copy()))
        self._count += len(answers)
        for row, half in enumerate(annotations or ()):
            if not isinstance(half, Half) or half.score is None:
                continue
            other = self._waiting.pop(half.pair, None)
            if other is None:
                self._waiting[half.pair] = answers[row].copy(), reference[row].copy()
            else:
                self._pairs.append((float(other[0] @ answers[row]), float(other[1] @ reference[row]), half.score))

    def result(self) -> Result:
        """Return the figures, with bootstrap intervals for rank correlation."""
        if not self._kept:
            return Result()
        own, reference = (np.concatenate(parts) for parts in zip(*self._kept, strict=True))
        cosines = np.concatenate(self._cosines)
        found = {"cosine": cosines}
        if len(own) > 2:
            nearest, shared = neighbours(own, reference)
            found |= {"nearest": nearest, "neighbours": shared}
        scores = SampleScores(self._metrics)
        scores.update(found, found)
        metrics = {name: clipped(figure, -1.0) for name, figure in scores.metrics().items()}
        changes: dict[str, Change] = {}
        warnings: tuple[str, ...] = ()
        if self._pairs:
            values, exact, wanted = np.array(self._pairs).T
            figure, change = spearman_interval(values, wanted), spearman_change(values, exact, wanted)
            metrics = ({} if figure is None else {"spearman": figure}) | metrics
            changes = {} if change is None else {"spearman": change}
        if self._count > len(own):
            warnings = (f"Neighbours are looked for among the first {len(own)} of {self._count} samples.",)
        return Result(metrics, changes, warnings=warnings)


def neighbours(own: Floats, reference: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Compare the nearest neighbours of samples in two models, by cosine.

    Args:
        own: Embeddings of length 1, (N, D).
        reference: Those of FP32.

    Returns:
        For each sample, (N,): 1 if the nearest other sample is the same in both; and the share of its NEIGHBOURS
        nearest that are among FP32's, of fewer if there are not as many.
    """
    count = min(NEIGHBOURS, len(own) - 1)
    same, shared = [], []
    for start in range(0, len(own), ROWS_AT_ONCE):
        rows = np.arange(start, min(start + ROWS_AT_ONCE, len(own)))
        near = []
        for embeddings in (own, reference):
            cosines = embeddings[rows] @ embeddings.T
            cosines[np.arange(len(rows)), rows] = -np.inf
            near.append(np.argsort(-cosines, axis=1, kind="stable")[:, :count])
        same.append(near[0][:, 0] == near[1][:, 0])
        shared.append((near[0][:, :, None] == near[1][:, None, :]).any(axis=2).mean(axis=1))
    return np.concatenate(same).astype(np.float64), np.concatenate(shared)


def _pooling(outputs: Sequence[ModelInput], named: bool) -> Pooling:
    """Choose the output that holds embeddings: one called so, the only one, or the only vector of a sample."""
    floats = [own for own in outputs if own.dtype.startswith("float")]
    vectors = [own for own in floats if len(own.shape) <= 2 and (named or not POOLER.search(own.name))]
    called = [own for own in vectors if SENTENCE.search(own.name)]
    for some in (called, floats, vectors if not any(POOLER.search(own.name) for own in floats) else ()):
        if len(some) == 1:
            shape = some[0].shape
            over: Literal["", "tokens", "places"] = "tokens" if len(shape) > 2 else ""
            if len(shape) == 4 and shape[1] != 1:  # a map of features, (N, C, H, W)
                over = "places"
            return Pooling(some[0].name, over)
    raise BadConfig(
        f"It is not certain which of the model's outputs holds embeddings: {', '.join(own.name for own in floats)}.",
        "Name it (--task-output, task_output=); of one with a vector for each token, the mean over the attention mask "
        "is taken.",
    )


def _mean(values: Floats, inputs: Mapping[str, npt.NDArray[Any]]) -> Floats:
    """Return the mean over tokens, (N, D), of (N, T, D) or (N, 1, T, D) values where the attention mask is 1."""
    tokens = values.reshape(len(values), -1, values.shape[-1])
    mask = next((own for name, own in inputs.items() if "mask" in name.lower()), None)
    weights = np.ones(tokens.shape[:2], np.float32)
    if mask is not None and mask.size == weights.size:
        weights = mask.reshape(weights.shape).astype(np.float32)
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    found: Floats = np.einsum("ntd,nt->nd", tokens, weights) / total
    return found
