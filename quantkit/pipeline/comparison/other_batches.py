"""Checks that candidates compute the same at each batch size that is timed; accuracy is measured at one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from quantkit.core.comparison import OutputError, Row
from quantkit.core.decibels import FAR_DB
from quantkit.core.errors import QuantkitError
from quantkit.core.progress import Progress, silent
from quantkit.datasets import Batch
from quantkit.measure.sqnr import OutputNoise
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.comparison.feeds import Feed
from quantkit.pipeline.comparison.reference import Reference
from quantkit.pipeline.comparison.rows import SAME_DB

CLEARLY_DB = 10.0  # kernels of another batch size round otherwise, but differ by far less
Errors = dict[str, OutputError]  # by output


@dataclass(frozen=True)
class OtherBatches:
    """What was found at other batch sizes.

    Attributes:
        warnings: A warning for each candidate and batch size where it computes something else.
        outputs: The errors of the outputs there, by candidate key and batch size.
    """

    warnings: tuple[str, ...] = ()
    outputs: Mapping[tuple[str, int], tuple[OutputError, ...]] = field(default_factory=dict)

    def corrected(self, row: Row) -> Row:
        """Return a row with the errors that its outputs have at its own batch size."""
        found = self.outputs.get((row.key, row.batch))
        if found is None:
            return row
        worst = min((error.sqnr_db for error in found if error.sqnr_db is not None), default=None)
        return row.model_copy(update={"outputs": found, "sqnr_db": None if row.is_reference else worst})


def check_other_batches(
    candidates: Sequence[Candidate],
    feeds: Sequence[Feed],
    samples: Batch,
    reference: Reference,
    step: int,
    progress: Progress = silent,
) -> OtherBatches:
    """Compute one sample at each batch size, and compare its outputs with the reference's as at batch ``step``.

    An engine has kernels of its own for each of its profiles, and some of them may be wrong. Floating-point outputs
    with a row for each sample are looked at, of feeds whose samples have the shape of ``samples``.

    Args:
        candidates: The candidates.
        feeds: The inputs that are timed.
        samples: The samples that the feeds are made of.
        reference: FP32 in onnxruntime.
        step: The batch size at which accuracy is measured.
        progress: Displays the progress.

    Returns:
        What computes something else, and where.
    """
    others = [feed for feed in feeds if feed.batch != step]
    others = [feed for feed in others if _shapes(feed.inputs) == _shapes(samples.resized(feed.batch))]
    if not others:
        return OtherBatches()
    warnings: list[str] = []
    outputs: dict[tuple[str, int], tuple[OutputError, ...]] = {}
    with progress("checking other batches", len(others) + 1, "batches") as advance:
        before = _errors(candidates, samples.resized(step), step, reference)
        advance(1)
        for feed in others:
            found = _errors(candidates, feed.inputs, feed.batch, reference)
            for candidate in candidates:
                now, was = (errors.get(candidate.key, {}) for errors in (found, before))
                limit = SAME_DB if candidate.is_reference else FAR_DB
                off = [name for name, error in now.items() if name in was and _is_off(error, was[name], limit)]
                if off:
                    warnings.append(
                        f"{candidate.title} computes the same sample otherwise at batch {feed.batch} than at batch "
                        f"{step} (output {off[0]!r}: {_decibels(now[off[0]])} at batch {feed.batch}, "
                        f"{_decibels(was[off[0]])} at batch {step}). Do not use it at batch {feed.batch}."
                    )
                    outputs[candidate.key, feed.batch] = tuple(now.values())
            advance(1)
    return OtherBatches(tuple(warnings), outputs)


def _shapes(inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, tuple[int, ...]]:
    return {name: values.shape for name, values in inputs.items()}


def _errors(
    candidates: Sequence[Candidate], inputs: Mapping[str, npt.NDArray[Any]], count: int, reference: Reference
) -> dict[str, Errors]:
    """Return the errors of outputs by candidate key; none if the reference does not take the batch."""
    try:  # the batch may be declared dynamic, but fixed inside the graph
        expected = reference.with_rows(reference.session.infer(inputs), count)
    except QuantkitError:
        return {}
    found = {}
    for candidate in candidates:
        if candidate.key == reference.key:
            continue
        noise = OutputNoise()
        noise.update(expected, reference.with_rows(candidate.session.infer(inputs), count))
        found[candidate.key] = {error.output: error for error in noise.errors() if error.measured}
    return found


def _is_off(now: OutputError, was: OutputError, limit: float) -> bool:
    if now.sqnr_db is None or now.sqnr_db >= limit:  # None for no noise, and for integers
        return False
    return was.sqnr_db is None or now.sqnr_db < was.sqnr_db - CLEARLY_DB


def _decibels(error: OutputError) -> str:
    return "no noise" if error.sqnr_db is None else f"SQNR {error.sqnr_db:.1f} dB"
