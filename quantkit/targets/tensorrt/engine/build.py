"""Builds the engines of a run: exports their sources first, and reuses engines that are still valid."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from quantkit.core.artifact import KNOWN_PRECISIONS, Artifact
from quantkit.core.cuda import select
from quantkit.core.errors import BadConfig, TargetRefuses
from quantkit.core.files import TEMPORARY, atomic_file, atomic_folder, digest_of, make_folder, sha256_of, write_text
from quantkit.core.recipe import Recipe
from quantkit.core.wording import choice_of, some
from quantkit.graph.fused import with_fused
from quantkit.graph.graph import Graph
from quantkit.targets.base import Engine, PrepareRequest
from quantkit.targets.tensorrt.engine import cuda
from quantkit.targets.tensorrt.engine.builder import Job
from quantkit.targets.tensorrt.engine.child import TIMING_CACHE
from quantkit.targets.tensorrt.engine.layers import NOT_TOLD
from quantkit.targets.tensorrt.engine.libraries import RTX, TENSORRT, Library
from quantkit.targets.tensorrt.engine.plan import STRONG_FILE, BuildSettings, Plan, plan_for
from quantkit.targets.tensorrt.engine.process import Finished, Wanted, run_builds
from quantkit.targets.tensorrt.engine.record import ENGINE_FILE, ENGINE_RECORD, AheadOfTime, EngineRecord, Where
from quantkit.targets.tensorrt.engine.shapes import Profile, profiles_for
from quantkit.version import __version__

log = logging.getLogger("quantkit")
ENGINES = "engines"  # a folder beside the precisions of artifacts/<target>/
NOT_RUN = "built, not measured: needs an RTX GPU"


@dataclass(frozen=True)
class _Site:
    """What engines are built with and for.

    Attributes:
        lib: The library.
        where: What its engines are bound to.
        device: The number of the GPU that runs them; None if there is none here.
    """

    lib: Library
    where: Where | AheadOfTime
    device: int | None


@dataclass(frozen=True)
class _Place:
    """An engine to build or to reuse.

    Attributes:
        plan: How it is built.
        folder: The folder of its files.
        fingerprint: The digest of what it depends on.
    """

    plan: Plan
    folder: Path
    fingerprint: str


def build_engines(request: PrepareRequest, settings: BuildSettings) -> list[Engine]:
    """Build ``engines/<precision>[-<mode>]/`` in the target's folder for every precision, with TensorRT for a GPU here.

    An engine of the same model, recipe and settings that was built by this TensorRT on this kind of GPU is reused,
    unless the request is ``fresh``. Without ``[build] shapes``, there is one optimization profile for each batch size.

    Args:
        request: The models to build engines for.
        settings: How engines are built.

    Returns:
        The engines, in the order of the request's precisions.

    Raises:
        BadInput: A precision or shape is wrong.
        TargetRefuses: This TensorRT cannot build the engine.
        BackendMissing: TensorRT or the GPU is missing, or the GPU has too little memory.
    """
    from quantkit.targets.tensorrt.engine.session import here

    def site() -> _Site:
        TENSORRT.require()
        number = select(request.device)
        return _Site(TENSORRT, here(number), number)

    return _build_all(request, settings, site)


def build_engines_ahead(request: PrepareRequest, settings: BuildSettings, device: int | None) -> list[Engine]:
    """Build the same with TensorRT for RTX, for GPUs that need not be here.

    Args:
        request: The models to build engines for.
        settings: How engines are built, and for which compute capabilities.
        device: The number of a GPU that can run such engines; None if there is none here.

    Returns:
        The engines, in the order of the request's precisions.

    Raises:
        BadInput: A precision, shape or compute capability is wrong.
        TargetRefuses: TensorRT for RTX cannot build the engine.
        BackendMissing: TensorRT for RTX is missing.
    """
    from quantkit.targets.tensorrt.engine.capabilities import chosen

    def site() -> _Site:
        RTX.require_builder()
        capabilities = chosen(RTX, settings.compute_capabilities)
        here = device is not None and cuda.compute_capability(device) in capabilities
        return _Site(
            RTX, AheadOfTime(tensorrt_rtx=RTX.version(), compute_capabilities=capabilities), device if here else None
        )

    return _build_all(request, settings, site)


def _build_all(request: PrepareRequest, settings: BuildSettings, site: Callable[[], _Site]) -> list[Engine]:
    """Build or reuse an engine for each precision. What the user gave is checked before the library is looked for."""
    unknown = [precision for precision in request.precisions if precision not in KNOWN_PRECISIONS]
    if unknown:
        raise BadConfig(f"There is no precision {unknown[0]!r}.", choice_of(unknown[0], KNOWN_PRECISIONS))
    seen = {name: value.shape for name, value in (request.recipe.calibration.sample or {}).items()}
    profiles = profiles_for(request.model, settings.shapes, request.batches, seen)
    own = site()
    places = [_place(own, precision, request, settings) for precision in dict.fromkeys(request.precisions)]
    found = {} if request.fresh else {place: _fitting(place, own, profiles) for place in places}
    records = {place: record for place, record in found.items() if record is not None}
    missing = [place for place in places if place not in records]
    if missing:
        names = ", ".join(place.plan.folder for place in missing)
        log.info("Building %s with %s%s.", names, own.where, "" if own.lib.ahead else "; this may take minutes")
        records |= _built(missing, own, profiles, request, settings)
    return [_engine(place, records[place], request, own) for place in places]


def _place(own: _Site, precision: str, request: PrepareRequest, settings: BuildSettings) -> _Place:
    library = own.lib
    title = f"{library.title} {own.where.version}" if library.generation else ""
    plan = plan_for(precision, settings.mode, library.interface(), title)
    return _Place(plan, request.folder / ENGINES / plan.folder, _fingerprint(request.recipe, plan, settings))


def _built(
    missing: Sequence[_Place],
    own: _Site,
    profiles: Sequence[Profile],
    request: PrepareRequest,
    settings: BuildSettings,
) -> dict[_Place, EngineRecord]:
    """Build engines in processes of their own, which write into a folder that is removed whatever happens.

    On a GPU one is built at a time, because tactics are timed there. TensorRT for RTX times nothing.
    """
    jobs = {place: _job(place, own, profiles, request, settings) for place in missing}
    side_by_side = min(len(jobs), _cores()) if own.lib.ahead else 1
    made = {}
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=make_folder(request.folder / ENGINES)) as scratch:
        builds = {
            Wanted(job, make_folder(Path(scratch, place.plan.folder)), _last_seconds(place)): place
            for place, job in jobs.items()
        }
        with closing(run_builds(list(builds), side_by_side, request.progress)) as finished:
            for done in finished:
                place = builds[done.wanted]
                made[place] = _kept(place, done, own)
    return made


def _job(
    place: _Place, own: _Site, profiles: Sequence[Profile], request: PrepareRequest, settings: BuildSettings
) -> Job:
    ranges = {}
    if place.plan.ranges:
        ranges = with_fused(Graph(request.model.graph_only.graph), request.recipe.quantized_ranges)
    return Job(
        _source(place.plan, request),
        place.plan,
        profiles,
        settings,
        {name: tensor.amax for name, tensor in ranges.items()},
        request.recipe.exclude,
        None if own.lib.ahead else place.folder.parent / TIMING_CACHE,
        own.lib,
        own.where.compute_capabilities if isinstance(own.where, AheadOfTime) else (),
        own.device,
    )


def _source(plan: Plan, request: PrepareRequest) -> Path:
    """Return the ONNX file that a plan builds from, exported unless it is the user's model."""
    if plan.source == "model":
        if plan.int8 and request.recipe.weights:
            raise TargetRefuses(
                "Implicit INT8 is built from the model itself, whose weights the recipe changes.",
                "Use the mode explicit.",
            )
        return request.model.source
    exported = request.export([plan.precision])[0]
    if plan.source != "strongly_typed":
        return exported.path
    found = next((file for file in exported.files if file.name == STRONG_FILE), None)
    if found is None:
        raise TargetRefuses(
            f"There is no {STRONG_FILE} of this model ({'; '.join(exported.notes)}).",
            "Use the mode explicit with TensorRT 8.6 to 10.",
        )
    return found


def _kept(place: _Place, done: Finished, own: _Site) -> EngineRecord:
    """Move what a process built to its place, with its record."""
    built, settings = done.outcome, done.wanted.job.settings
    if built.without_range:
        log.warning(
            "%d tensors have no dynamic range, so that the layers around them stay in floating point: %s",
            len(built.without_range),
            some(list(built.without_range)),
        )
    cache = done.wanted.folder / TIMING_CACHE
    if cache.is_file():
        with atomic_file(place.folder.parent / TIMING_CACHE) as temporary:
            cache.replace(temporary)
    with atomic_folder(place.folder) as folder:
        (done.wanted.folder / ENGINE_FILE).replace(folder / ENGINE_FILE)
        record = EngineRecord(
            precision=place.plan.precision,
            mode=place.plan.mode,
            where=own.where,
            fingerprint=place.fingerprint,
            engine_sha256=sha256_of(folder / ENGINE_FILE),
            profiles=tuple(_texts(done.wanted.job.profiles)),
            optimization_level=settings.optimization_level,
            workspace_mb=settings.workspace_mb,
            build_seconds=round(done.seconds, 1),
            executed_precision=built.executed_precision or NOT_TOLD,
            without_range=built.without_range,
            layers=built.layers,
        )
        write_text(folder / ENGINE_RECORD, record.model_dump_json(indent=1) + "\n")
    return record


def _fitting(place: _Place, own: _Site, profiles: Sequence[Profile]) -> EngineRecord | None:
    """Return the record of an existing engine that can be reused, else None; the log says why another's cannot be."""
    record, file = _record(place), place.folder / ENGINE_FILE
    if record is None or not file.is_file() or sha256_of(file) != record.engine_sha256:
        return None
    built, now = record.where, own.where
    if not (built.serves(now) if isinstance(built, Where) and isinstance(now, Where) else built == now):
        log.info("%s is of %s, and is built again.", file, built)
        return None
    if record.fingerprint != place.fingerprint or any(one not in record.profiles for one in _texts(profiles)):
        log.info("%s is of other ranges, settings or shapes, and is built again.", file)
        return None
    return record


def _record(place: _Place) -> EngineRecord | None:
    """Return the record of an engine; None if there is none, or it is damaged."""
    try:
        return EngineRecord.model_validate_json((place.folder / ENGINE_RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _last_seconds(place: _Place) -> float | None:
    record = _record(place)
    return None if record is None else record.build_seconds


def _texts(profiles: Sequence[Profile]) -> list[dict[str, str]]:
    return [{name: str(shapes) for name, shapes in profile.items()} for profile in profiles]


def _fingerprint(recipe: Recipe, plan: Plan, settings: BuildSettings) -> str:
    """Return a digest of everything that an engine depends on, except its profiles and what it is built for."""
    int8 = plan.precision == "int8"
    chosen = settings.model_dump(mode="json", include={"workspace_mb", "optimization_level", "sparse", "plugins"})
    return digest_of([__version__, recipe.digest(int8), plan.folder, chosen])


def _engine(place: _Place, record: EngineRecord, request: PrepareRequest, own: _Site) -> Engine:
    files = (place.folder / ENGINE_FILE,)
    artifact = Artifact(request.folder.name, place.plan.precision, files, _notes(place.plan, record))
    return Engine(
        artifact, record, record.cells(), record.footnote() + ("" if own.device is not None else f"; {NOT_RUN}")
    )


def _notes(plan: Plan, record: EngineRecord) -> tuple[str, ...]:
    """Return notes for a reader of the engine's row."""
    modes = {
        "implicit": "implicit INT8: dynamic ranges on the network's tensors",
        "explicit": "explicit INT8: Q/DQ in the model",
        "strong": "a strongly typed network",
    }
    notes = [modes[plan.mode]] if plan.mode else []
    if plan.precision in ("fp32", "tf32"):
        notes.append("TF32 on: products on tensor cores, rounded to 10 bits" if plan.tf32 else "TF32 off")
    if record.without_range:
        notes.append(f"{len(record.without_range)} tensors without a range, in floating point")
    return tuple(notes)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
