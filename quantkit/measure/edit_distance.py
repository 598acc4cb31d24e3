"""The edit distance of two texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def edit_distance(first: Sequence[object], second: Sequence[object]) -> int:
    """Return the fewest insertions, deletions and replacements that turn one text into another (Levenshtein 1966).

    Args:
        first: A text, or a sequence of tokens.
        second: The other one.

    Returns:
        The distance.
    """
    codes = {item: number for number, item in enumerate(dict.fromkeys([*first, *second]))}
    a, b = ([codes[item] for item in text] for text in (first, second))
    columns = np.arange(len(b) + 1)
    row, own = columns, np.array(b)
    for item in a:
        # By deletion or replacement; an insertion depends on the value to the left, hence the running minimum.
        new = np.concatenate([row[:1] + 1, np.minimum(row[1:] + 1, row[:-1] + (own != item))])
        row = np.minimum.accumulate(new - columns) + columns
    return int(row[-1])
