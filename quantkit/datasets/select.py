"""Which samples are used: a seeded, class-balanced choice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def balanced_choice(
    labels: npt.NDArray[np.int64] | None, available: int, wanted: int | None, seed: int
) -> npt.NDArray[np.int64]:
    """Indices of ``wanted`` samples (None or too many = all), shuffled by ``seed``.

    With labels, classes take turns, so that their counts differ by at most one as long as none runs out.
    """
    order = np.random.default_rng(seed).permutation(available)
    if labels is not None:
        shuffled = labels[order]
        turn = np.empty(available, dtype=np.int64)  # how many of its class came before
        for label in np.unique(shuffled):
            members = np.flatnonzero(shuffled == label)
            turn[members] = np.arange(len(members))
        order = order[np.argsort(turn, kind="stable")]
    return order if wanted is None else order[:wanted]
