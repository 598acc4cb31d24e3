"""Checks that candidates compute the same at every batch size and shape that is timed; accuracy is measured at one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from quantkit.core.decibels import FAR_DB
from quantkit.core.errors import QuantkitError
from quantkit.core.progress import Progress, silent
from quantkit.measure.sqnr import OutputNoise
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.comparison.feeds import Feed
from quantkit.pipeline.comparison.reference import Reference

CLEARLY_DB = 10.0  # one sample may differ from the mean of all, but rarely by as much


def feed_warnings(
    candidates: Sequence[Candidate],
    feeds: Sequence[Feed],
    reference: Reference,
    measured: Mapping[str, float | None],
    step: int,
    progress: Progress = silent,
) -> list[str]:
    """Warn about candidates that compute something else at a batch size or shape than where accuracy was measured.

    An engine has kernels of its own for each of its profiles, and one of them may be wrong.

    Args:
        candidates: The candidates.
        feeds: The inputs that are timed.
        reference: FP32 in onnxruntime.
        measured: The SQNR of the worst output by candidate key, as it was measured.
        step: The batch size at which it was.
        progress: Displays the progress.

    Returns:
        The warnings.
    """
    others = [feed for feed in feeds if feed.batch != step or feed.shape]
    warnings = []
    with progress("checking other batches", len(others), "batches") as advance:
        for feed in others:
            for candidate, found in _off(candidates, feed, reference, measured):
                was = measured.get(candidate.key)
                there = "no noise" if was is None else f"{was:.1f} dB"
                warnings.append(
                    f"{candidate.title} computes something else at {feed.shape or f'batch {feed.batch}'} than at "
                    f"batch {step}, where its accuracy was measured (SQNR {found:.1f} dB, {there} there): do not "
                    f"ship it for that."
                )
            advance(1)
    return warnings


def _off(
    candidates: Sequence[Candidate], feed: Feed, reference: Reference, measured: Mapping[str, float | None]
) -> list[tuple[Candidate, float]]:
    """Return the candidates that are far from the reference on a feed, and were not; each with its SQNR there."""
    try:
        expected = reference.by_sample(reference.session.infer(feed.inputs), feed.batch, feed.batch)
    except QuantkitError:  # the batch may be declared dynamic, but fixed inside the graph
        return []
    found = []
    for candidate in candidates:
        if candidate.key == reference.key:
            continue
        noise = OutputNoise()
        noise.update(expected, reference.by_sample(candidate.session.infer(feed.inputs), feed.batch, feed.batch))
        now, was = noise.sqnr_db, measured.get(candidate.key)
        if now is not None and now < FAR_DB and (was is None or now < was - CLEARLY_DB):
            found.append((candidate, now))
    return found
