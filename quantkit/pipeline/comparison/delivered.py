"""Checks that the files as delivered compute what was measured."""

from __future__ import annotations

from collections.abc import Sequence

from quantkit.core.decibels import decibels, energy, noise_energy
from quantkit.core.errors import QuantkitError
from quantkit.datasets import Batch
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.targets.session import DeliveredSession

SAME_DB = 15.0  # two ways to compile INT8 differ by single steps of rounding, which is far less
SAMPLES = 2  # of a batch that a dynamic model is run with


def delivery_warnings(candidates: Sequence[Candidate], first: Batch, fixed: int | None) -> list[str]:
    """Warn about models whose files, run as they are, give other outputs than what was measured.

    Args:
        candidates: The candidates.
        first: Samples to run.
        fixed: The batch that the model requires; None if it is dynamic.

    Returns:
        The warnings.
    """
    inputs = first.resized(fixed or SAMPLES)
    warnings = []
    for candidate in candidates:
        session = candidate.session
        if not isinstance(session, DeliveredSession):
            continue
        try:
            outputs = session.as_delivered(inputs)
            measured = session.infer(inputs) if outputs is not None else {}
        except QuantkitError as failure:
            if fixed is None:  # the batch may be declared dynamic, but fixed inside the graph
                continue
            warnings.append(f"{candidate.title} does not run as delivered: {failure.what}")
            continue
        for name, expected in measured.items():
            found = None if outputs is None else outputs.get(name)
            if found is None or expected.dtype.kind != "f" or expected.shape != found.shape:
                continue
            ratio = decibels(energy(expected), noise_energy(expected, found))
            if ratio is not None and ratio < SAME_DB:
                warnings.append(
                    f"{candidate.title} as delivered, with dynamic shapes, does not compute what was measured with "
                    f"fixed ones (output {name}, SQNR {ratio:.1f} dB): compile it for fixed shapes, or set shapes = "
                    f'"dynamic" in [openvino] to measure it so.'
                )
                break
    return warnings
