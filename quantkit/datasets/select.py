"""A seeded, class-balanced choice of samples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


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
