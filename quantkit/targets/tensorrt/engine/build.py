"""Builds the engines of a run: exports their sources first, and reuses engines that are still valid."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quantkit.core.artifact import KNOWN_PRECISIONS, Artifact
from quantkit.core.errors import BadConfig, TargetRefuses
from quantkit.core.files import atomic_folder, digest_of, sha256_of, write_text
from quantkit.core.recipe import Recipe
from quantkit.core.releases import release_of
from quantkit.core.wording import some
from quantkit.graph.fused import with_fused
from quantkit.graph.graph import Graph
from quantkit.targets.base import Engine, PrepareRequest
from quantkit.targets.tensorrt.engine import cuda, library
from quantkit.targets.tensorrt.engine.plan import STRONG_FILE, BuildSettings, Plan, plan_for
from quantkit.targets.tensorrt.engine.record import ENGINE_FILE, ENGINE_RECORD, EngineRecord, Where
from quantkit.targets.tensorrt.engine.shapes import Profile, profiles_for
from quantkit.version import __version__

log = logging.getLogger("quantkit")
ENGINES = "engines"  # a folder beside the precisions of artifacts/tensorrt/
TIMING_CACHE = "timing.cache"


@dataclass(frozen=True)
class _Place:
    """An engine to build.

    Attributes:
        plan: How it is built.
        profiles: The shapes that it is optimized for.
        where: The TensorRT and GPU that it is built with.
        device: The number of the GPU.
        folder: The folder of its files.
    """

    plan: Plan
    profiles: Sequence[Profile]
    where: Where
    device: int
    folder: Path

    @property
    def told(self) -> tuple[str, str, str]:
        """The engine, TensorRT's version and the GPU, for people."""
        return self.plan.folder, self.where.tensorrt, self.where.gpu


def build_engines(request: PrepareRequest, settings: BuildSettings) -> list[Engine]:
    """Build ``engines/<precision>[-<mode>]/`` in the target's folder for every precision.

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

    unknown = [precision for precision in request.precisions if precision not in KNOWN_PRECISIONS]
    if unknown:
        raise BadConfig(f"There is no precision {unknown[0]!r}.", f"Choose one of: {', '.join(KNOWN_PRECISIONS)}.")
    seen = {name: value.shape for name, value in (request.recipe.calibration.sample or {}).items()}
    profiles = profiles_for(request.model, settings.shapes, request.batches, seen)
    library.require()
    number = cuda.select(request.device)
    where = here(number)
    release = release_of(where.tensorrt)
    plans = [plan_for(precision, settings.mode, release) for precision in request.precisions]
    built = []
    for plan in plans:
        place = _Place(plan, profiles, where, number, request.folder / ENGINES / plan.folder)
        fingerprint = _fingerprint(request.recipe, plan, settings)
        record = None if request.fresh else _fitting(place, fingerprint)
        if record is None:
            record = _build_one(place, request, settings, _source(plan, request), fingerprint)
        files = (place.folder / ENGINE_FILE,)
        artifact = Artifact("tensorrt", plan.precision, files, _notes(plan, record))
        built.append(Engine(artifact, record, record.cells(), record.footnote()))
    return built


def _source(plan: Plan, request: PrepareRequest) -> Path:
    """Return the ONNX file that a plan builds from, exported unless it is the user's model."""
    if plan.source == "model":
        if plan.int8 and request.recipe.weights:
            raise TargetRefuses(
                "Implicit INT8 is built from the model itself, whose weights the recipe changes.",
                "Use --mode explicit.",
            )
        return request.model.source
    exported = request.export([plan.precision])[0]
    if plan.source != "strongly_typed":
        return exported.path
    found = next((file for file in exported.files if file.name == STRONG_FILE), None)
    if found is None:
        raise TargetRefuses(
            f"There is no {STRONG_FILE} of this model ({'; '.join(exported.notes)}).",
            "Use --mode explicit with TensorRT 8.6 to 10.",
        )
    return found


def _build_one(
    place: _Place, request: PrepareRequest, settings: BuildSettings, source: Path, fingerprint: str
) -> EngineRecord:
    from quantkit.targets.tensorrt.engine import builder
    from quantkit.targets.tensorrt.engine import session as engine

    log.info("Building %s with TensorRT %s for %s; this may take minutes.", *place.told)
    plan, recipe = place.plan, request.recipe
    ranges = with_fused(Graph(request.model.graph_only.graph), recipe.quantized_ranges)
    amax = {name: tensor.amax for name, tensor in ranges.items()}
    timing_cache = place.folder.parent / TIMING_CACHE
    start = time.monotonic()
    built = builder.build(source, plan, place.profiles, settings, amax, recipe.exclude, timing_cache, request.progress)
    seconds = time.monotonic() - start
    if built.without_range:
        log.warning(
            "%d tensors have no dynamic range, so that the layers around them stay in floating point: %s",
            len(built.without_range),
            some(list(built.without_range)),
        )
    session = engine.EngineSession(built.plan, plan.folder, place.device)
    session.layers = session.inspect()
    with atomic_folder(place.folder) as temporary:
        (temporary / ENGINE_FILE).write_bytes(built.plan)
        record = EngineRecord(
            precision=plan.precision,
            mode=plan.mode,
            where=place.where,
            fingerprint=fingerprint,
            engine_sha256=sha256_of(temporary / ENGINE_FILE),
            profiles=tuple({name: str(shapes) for name, shapes in profile.items()} for profile in place.profiles),
            optimization_level=settings.optimization_level,
            workspace_mb=settings.workspace_mb,
            build_seconds=round(seconds, 1),
            executed_precision=session.executed_precision,
            without_range=built.without_range,
            layers=session.layers,
        )
        write_text(temporary / ENGINE_RECORD, record.model_dump_json(indent=1) + "\n")
    return record


def _fitting(place: _Place, fingerprint: str) -> EngineRecord | None:
    """Return the record of an existing engine that can be reused, else None; the log says why another's cannot be."""
    folder, where = place.folder, place.where
    try:
        record = EngineRecord.model_validate_json((folder / ENGINE_RECORD).read_text(encoding="utf-8"))
        if sha256_of(folder / ENGINE_FILE) != record.engine_sha256:
            return None
    except (OSError, ValueError):
        return None
    if not record.where.serves(where):
        log.info("%s was built elsewhere (%s).", folder / ENGINE_FILE, "; ".join(record.where.differences(where)))
        return None
    wanted = [{name: str(shapes) for name, shapes in profile.items()} for profile in place.profiles]
    if record.fingerprint != fingerprint or any(profile not in record.profiles for profile in wanted):
        log.info("%s is of other ranges, settings or shapes, and is built again.", folder / ENGINE_FILE)
        return None
    return record


def _fingerprint(recipe: Recipe, plan: Plan, settings: BuildSettings) -> str:
    """Return a digest of everything that an engine depends on, except its profiles and where it is built."""
    int8 = plan.precision == "int8"
    chosen = settings.model_dump(include={"workspace_mb", "optimization_level"})
    return digest_of([__version__, recipe.digest(int8), plan.folder, chosen])


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
