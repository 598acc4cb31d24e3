"""Measures candidates as servers: alone, and on several devices at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from quantkit.core.errors import BackendMissing
from quantkit.core.progress import Progress
from quantkit.core.serving import Serving, Together
from quantkit.measure.serving import serve
from quantkit.pipeline.comparison.candidates import Candidate
from quantkit.pipeline.comparison.feeds import Feed
from quantkit.targets.session import ServingSession


@dataclass(frozen=True)
class Servings:
    """What candidates give as servers.

    Attributes:
        alone: Each candidate by itself, by its key.
        together: Those that are on several devices, on all of them at the same time.
        warnings: What a device could not hold.
    """

    alone: Mapping[str, Serving] = field(default_factory=dict)
    together: tuple[Together, ...] = ()
    warnings: tuple[str, ...] = ()


def serve_candidates(
    candidates: Sequence[Candidate], feed: Feed, streams: Sequence[int], progress: Progress
) -> Servings:
    """Let every candidate answer requests.

    Streams that a device cannot hold are left out, with a warning.

    Args:
        candidates: The candidates.
        feed: The inputs of a request.
        streams: The numbers of requests under way; none measures nothing.
        progress: Displays the progress.

    Returns:
        What each gives.
    """
    able = [one for one in candidates if isinstance(one.session, ServingSession)] if streams else []
    if not able:
        return Servings()
    groups: dict[tuple[str, str, str], list[Candidate]] = {}
    for one in able:
        groups.setdefault((one.artifact.target, one.artifact.precision, one.variant), []).append(one)
    wide = {names: group for names, group in groups.items() if len(group) > 1}
    alone: dict[str, Serving] = {}
    together: list[Together] = []
    warnings: list[str] = []
    with progress("serving", len(set(streams)) * (len(able) + len(wide)), "loads") as advance:

        def served(group: Sequence[Candidate]) -> Serving | None:
            sessions = {one.device: cast(ServingSession, one.session) for one in group}
            name = f"{group[0].artifact.target} {group[0].artifact.precision} on {' and '.join(sessions)}"
            try:
                found = serve(sessions, feed.inputs, feed.batch, streams, advance)
            except BackendMissing as error:
                warnings.append(f"{name} is not measured as a server: {error.what}")
                return None
            if found.beyond is not None:
                most = found.loads[-1].streams
                warnings.append(f"{name} is measured with no more than {_streams(most)}: {found.beyond}")
            return found

        for one in able:
            if (found := served([one])) is not None:
                alone[one.key] = found
        for (target, precision, variant), group in wide.items():
            if (found := served(group)) is not None:
                together.append(Together(target=target, precision=precision, variant=variant, serving=found))
    return Servings(alone, tuple(together), tuple(warnings))


def _streams(count: int) -> str:
    return "1 stream" if count == 1 else f"{count} streams"
