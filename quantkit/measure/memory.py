"""Refuses batches that cannot fit into this machine's memory, before anything long is done."""

from __future__ import annotations

import os
from collections.abc import Sequence

from quantkit.core.errors import BadConfig
from quantkit.datasets import Dataset, Unreadable

PROBES = 8  # samples that are tried for one that can be read


def machine_memory() -> int | None:
    """Return the physical memory in bytes; None if the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def check_batches(dataset: Dataset, indices: Sequence[int], sizes: Sequence[int]) -> None:
    """Raise BadConfig, with the size that it would take, if the inputs of a batch exceed the machine's memory.

    Args:
        dataset: The samples.
        indices: The chosen ones; one of the first is measured.
        sizes: The batch sizes.
    """
    memory = machine_memory()
    size = max(sizes)
    if memory is None or size == 1:
        return
    for index in indices[:PROBES]:
        try:
            sample, _ = dataset.load(index)
        except Unreadable:
            continue
        needed = size * sum(array.nbytes for array in sample.values())
        if needed > memory:
            raise BadConfig(
                f"The inputs of a batch of {size} take {needed / 1e9:,.1f} GB, and this machine has "
                f"{memory / 1e9:,.1f} GB of memory.",
                "Give a smaller batch size.",
            )
        return
