"""Top-1 and top-5 accuracy with Wilson intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.comparison import Interval

CONFIDENCE = 0.95


def wilson_interval(hits: int, total: int) -> Interval:
    """Share of hits with its 95 % Wilson score interval (Wilson 1927); ValueError for an empty total."""
    from scipy.stats import binomtest

    bounds = binomtest(hits, total).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return Interval(value=hits / total, low=float(bounds.low), high=float(bounds.high))


def class_scores(output: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """An output as (N, classes) scores, trailing dimensions of 1 dropped; None when it is no classification."""
    scores = output.reshape(output.shape[0], -1) if output.ndim > 2 and output[0].size == output.shape[1] else output
    return scores if scores.ndim == 2 and scores.shape[1] >= 2 else None


class Accuracy:
    """Counts how often the label is the best, or among the best five, of the scores."""

    def __init__(self) -> None:
        self._hits: dict[str, int] = {}
        self._total = 0
        self.classes = 0  # how many the scores have

    def update(self, scores: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.bool_]]:
        """``scores`` (N, classes), ``labels`` (N,); a label of -1 is not counted.

        Returns whether each counted sample was answered rightly, by metric.
        """
        known = labels >= 0
        scores, labels = scores[known], labels[known]
        self.classes = scores.shape[1]
        own = scores[np.arange(len(labels)), labels][:, None]
        # Rank by how many classes score higher; equal scores before the label's index come first, as in argmax.
        index = np.arange(self.classes)[None, :]
        rank = ((scores > own) | ((scores == own) & (index < labels[:, None]))).sum(axis=1)
        finite = np.isfinite(scores).all(axis=1)
        hits = {name: (rank < depth) & finite for name, depth in self._depths().items()}
        for name, right in hits.items():
            self._hits[name] = self._hits.get(name, 0) + int(right.sum())
        self._total += len(labels)
        return hits

    def _depths(self) -> dict[str, int]:
        """Among how many of the best the label must be; top5 says nothing of five classes or fewer."""
        return {"top1": 1, "top5": 5} if self.classes > 5 else {"top1": 1}

    def metrics(self) -> dict[str, Interval]:
        """top1, and top5 where there are more than five classes; empty without labels."""
        if not self._total:
            return {}
        return {name: wilson_interval(hits, self._total) for name, hits in self._hits.items()}
