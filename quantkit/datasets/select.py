"""Chooses samples: at random with classes in turn, or by how different they look to the model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CANDIDATES = 10  # times as many samples as are wanted are looked at for a diverse choice


def balanced_choice(
    labels: npt.NDArray[np.int64] | None, available: int, wanted: int | None, seed: int
) -> npt.NDArray[np.int64]:
    """Choose samples at random; with labels, choose from the classes in turn.

    Class counts differ by at most one until a class runs out of samples.

    Args:
        labels: The class index of each sample, int64 (N,); None without labels.
        available: The number of samples N.
        wanted: The number of samples to choose; None, or more than there are, means all.
        seed: The seed of the random order.

    Returns:
        The indices of the chosen samples, shuffled.
    """
    order = np.random.default_rng(seed).permutation(available)
    if labels is not None:
        shuffled = labels[order]
        turn = np.empty(available, dtype=np.int64)  # the number of earlier samples of the same class
        for label in np.unique(shuffled):
            members = np.flatnonzero(shuffled == label)
            turn[members] = np.arange(len(members))
        order = order[np.argsort(turn, kind="stable")]
    return order if wanted is None else order[:wanted]


def diverse_choice(features: npt.NDArray[np.float32], wanted: int | None) -> npt.NDArray[np.int64]:
    """Choose samples that are far from one another, each next one the farthest from all that were chosen before.

    The first is the one nearest to the mean. This is the greedy algorithm for k centres, never worse than twice the
    best: Gonzalez, "Clustering to minimize the maximum intercluster distance" (1985),
    https://doi.org/10.1016/0304-3975(85)90224-5.

    Args:
        features: The features of each sample, (N, D).
        wanted: The number of samples to choose; None, or more than there are, means all.

    Returns:
        The indices of the chosen samples, the first chosen one first.
    """
    if not len(features):
        return np.zeros(0, np.int64)
    own = features.astype(np.float64)
    own -= own.mean(axis=0)
    own /= np.maximum(own.std(axis=0), 1e-12 + 1e-6 * own.std())
    squares = np.einsum("ij,ij->i", own, own)
    chosen = np.empty(min(len(own), len(own) if wanted is None else wanted), np.int64)
    nearest = np.full(len(own), np.inf)
    following = int(squares.argmin())
    for turn in range(len(chosen)):
        chosen[turn] = following
        distances = squares - 2 * (own @ own[following]) + squares[following]
        np.minimum(nearest, np.maximum(distances, 0.0), out=nearest)
        nearest[following] = -1.0  # never again
        following = int(nearest.argmax())
    return chosen
