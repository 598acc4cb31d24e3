"""A calibration in, TensorRT engines out; engines that are there and still fit are used again."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from quantkit.config import Config
from quantkit.core.artifact import KNOWN_PRECISIONS, Artifact
from quantkit.core.calibration import Calibration
from quantkit.core.errors import BadInput, TargetRefuses
from quantkit.core.files import atomic_folder, sha256_of, write_text
from quantkit.core.progress import Progress, silent
from quantkit.core.wording import some
from quantkit.graph.fused import with_fused
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile
from quantkit.pipeline.export import calibrated_model, export
from quantkit.pipeline.run_directory import digest_of
from quantkit.targets.tensorrt import STRONG_FILE, TensorRT
from quantkit.targets.tensorrt.engine.plan import Plan, plan_for
from quantkit.targets.tensorrt.engine.record import ENGINE_FILE, ENGINE_RECORD, EngineRecord, Where
from quantkit.targets.tensorrt.engine.shapes import Profile, profiles_for
from quantkit.version import __version__

log = logging.getLogger("quantkit")
ENGINES = "engines"  # beside the precisions of artifacts/tensorrt/
TIMING_CACHE = "timing.cache"


@dataclass(frozen=True)
class Engine:
    """A built engine: the artifact to load, and the record beside it."""

    artifact: Artifact
    record: EngineRecord


def build_engines(
    config: Config,
    calibration: Calibration,
    artifacts: Path,
    precisions: Sequence[str],
    device: str = "cuda:0",
    batches: Sequence[int] = (1,),
    fresh: bool = False,
    progress: Progress = silent,
) -> list[Engine]:
    """Build ``artifacts/tensorrt/engines/<precision>[-<mode>]/`` for every precision, in the order given.

    What an engine is built from is exported first. An engine of the same model, ranges and settings, made by this
    TensorRT on this kind of GPU, is kept unless ``fresh``. Without ``[build] shapes`` there is one optimization profile
    for each of ``batches``. Raises BadInput, TargetRefuses, BackendMissing.
    """
    from quantkit.targets.tensorrt.engine import cuda, library
    from quantkit.targets.tensorrt.engine.session import here

    unknown = [precision for precision in precisions if precision not in KNOWN_PRECISIONS]
    if unknown:
        raise BadInput(f"There is no precision {unknown[0]!r}.", f"Choose one of: {', '.join(KNOWN_PRECISIONS)}.")
    model = calibrated_model(calibration)
    profiles = profiles_for(model, config.build.shapes, batches)
    library.require()
    number = cuda.select(device)
    where = here(number)
    plans = [plan_for(precision, config.build.mode, library.version_of(where.tensorrt)) for precision in precisions]
    built = []
    for plan in plans:
        folder = artifacts / TensorRT.name / ENGINES / plan.folder
        fingerprint = _fingerprint(config, calibration, plan)
        record = None if fresh else _fitting(folder, fingerprint, where, profiles)
        if record is None:
            source = _source(plan, model, calibration, artifacts, config.export.tensorrt, progress)
            record = _build_one(
                config, calibration, model, plan, source, profiles, where, number, folder, fingerprint, progress
            )
        artifact = Artifact(TensorRT.name, plan.precision, (folder / ENGINE_FILE,), _notes(plan, record))
        built.append(Engine(artifact, record))
    return built


def _source(
    plan: Plan, model: ModelFile, calibration: Calibration, artifacts: Path, version: str, progress: Progress
) -> Path:
    """The ONNX file that the plan is for; exported where it is not the model itself.

    ``version`` is the one that the calibration cache beside it is headed with.
    """
    if plan.source == "model":
        return model.path
    exported = export(calibration, [TensorRT(version)], [plan.precision], artifacts, progress)[0]
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
    config: Config,
    calibration: Calibration,
    model: ModelFile,
    plan: Plan,
    source: Path,
    profiles: Sequence[Profile],
    where: Where,
    device: int,
    folder: Path,
    fingerprint: str,
    progress: Progress,
) -> EngineRecord:
    from quantkit.targets.tensorrt.engine import builder
    from quantkit.targets.tensorrt.engine import session as engine

    log.info("Building %s with TensorRT %s for %s; this may take minutes.", plan.folder, where.tensorrt, where.gpu)
    ranges = with_fused(Graph(model.graph_only.graph), calibration.ranges)
    amax = {name: tensor.amax for name, tensor in ranges.items()}
    start = time.monotonic()
    built = builder.build(
        source, plan, profiles, config.build, amax, calibration.exclude, folder.parent / TIMING_CACHE, progress
    )
    seconds = time.monotonic() - start
    if built.without_range:
        log.warning(
            "%d tensors have no dynamic range, so that the layers around them stay in floating point: %s",
            len(built.without_range),
            some(list(built.without_range)),
        )
    session = engine.EngineSession(built.plan, plan.folder, device)
    session.layers = session.inspect()
    with atomic_folder(folder) as temporary:
        (temporary / ENGINE_FILE).write_bytes(built.plan)
        record = EngineRecord(
            precision=plan.precision,
            mode=plan.mode,
            where=where,
            fingerprint=fingerprint,
            engine_sha256=sha256_of(temporary / ENGINE_FILE),
            profiles=tuple({name: str(shapes) for name, shapes in profile.items()} for profile in profiles),
            optimization_level=config.build.optimization_level,
            workspace_mb=config.build.workspace_mb,
            build_seconds=round(seconds, 1),
            executed_precision=session.executed_precision,
            without_range=built.without_range,
            layers=session.layers,
        )
        write_text(temporary / ENGINE_RECORD, record.model_dump_json(indent=1) + "\n")
    return record


def _fitting(folder: Path, fingerprint: str, where: Where, profiles: Sequence[Profile]) -> EngineRecord | None:
    """The record of an engine that is there and can be used again; a log line says why not where it is another's."""
    try:
        record = EngineRecord.model_validate_json((folder / ENGINE_RECORD).read_text(encoding="utf-8"))
        if sha256_of(folder / ENGINE_FILE) != record.engine_sha256:
            return None
    except (OSError, ValueError):
        return None
    if not record.where.serves(where):
        log.info("%s was built elsewhere (%s).", folder / ENGINE_FILE, "; ".join(record.where.differences(where)))
        return None
    wanted = [{name: str(shapes) for name, shapes in profile.items()} for profile in profiles]
    if record.fingerprint != fingerprint or any(profile not in record.profiles for profile in wanted):
        log.info("%s is of other ranges, settings or shapes, and is built again.", folder / ENGINE_FILE)
        return None
    return record


def _fingerprint(config: Config, calibration: Calibration, plan: Plan) -> str:
    """A digest of all that an engine depends on but its profiles and where it is built."""
    ranges: Mapping[str, tuple[float, float, float]] = (
        {name: (r.amax, r.low, r.high) for name, r in calibration.ranges.items()} if plan.precision == "int8" else {}
    )
    settings = config.build.model_dump(include={"workspace_mb", "optimization_level"})
    exclude = list(calibration.exclude) if plan.precision == "int8" else []
    data = calibration.data.sha256 if plan.precision == "int8" else ""  # whose channel means correct biases
    return digest_of([__version__, calibration.model.sha256, ranges, exclude, data, plan.folder, settings])


def _notes(plan: Plan, record: EngineRecord) -> tuple[str, ...]:
    """What a reader of the row should know."""
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
