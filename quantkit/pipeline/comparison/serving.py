"""Measures candidates as servers: alone, and on several devices at the same time."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

from quantkit.core.errors import BackendMissing
from quantkit.core.progress import Progress
from quantkit.core.serving import Serving, Together
from quantkit.measure.serving import serve
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.comparison.feeds import Feed
from quantkit.targets.session import ServingSession

log = logging.getLogger("quantkit")


def serve_candidates(
    candidates: Sequence[Candidate], feed: Feed, streams: Sequence[int], progress: Progress
) -> tuple[dict[str, Serving], tuple[Together, ...]]:
    """Let every candidate answer requests.

    One whose device has too little memory is left out, with a warning.

    Args:
        candidates: The candidates.
        feed: The inputs of a request.
        streams: The numbers of requests under way; none measures nothing.
        progress: Displays the progress.

    Returns:
        What each gives alone, by candidate key; and what those give together that are on several devices.
    """
    able = [one for one in candidates if isinstance(one.session, ServingSession)] if streams else []
    groups: dict[tuple[str, str, str], list[Candidate]] = {}
    for one in able:
        groups.setdefault((one.artifact.target, one.artifact.precision, one.variant), []).append(one)
    wide = {names: group for names, group in groups.items() if len(group) > 1}
    alone: dict[str, Serving] = {}
    together: list[Together] = []
    if not able:
        return alone, ()
    count = len(set(streams))
    with progress("serving", count * (len(able) + len(wide)), "loads") as advance:

        def served(group: Sequence[Candidate]) -> Serving | None:
            sessions = {one.device: cast(ServingSession, one.session) for one in group}
            try:
                return serve(sessions, feed.inputs, feed.batch, streams, advance)
            except BackendMissing as error:
                log.warning(
                    "%s %s is not measured as a server: %s",
                    group[0].artifact.target,
                    group[0].artifact.precision,
                    error,
                )
                return None

        for one in able:
            if (found := served([one])) is not None:
                alone[one.key] = found
        for names, group in wide.items():
            if (found := served(group)) is not None:
                target, precision, variant = names
                together.append(Together(target=target, precision=precision, variant=variant, serving=found))
    return alone, tuple(together)
