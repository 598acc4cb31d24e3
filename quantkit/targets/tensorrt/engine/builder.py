"""Builds a serialized engine from a plan and an ONNX file."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantkit.core.errors import BackendMissing, TargetRefuses
from quantkit.core.files import atomic_file
from quantkit.core.progress import Progress, silent
from quantkit.targets.tensorrt.engine import implicit, library
from quantkit.targets.tensorrt.engine.network import parsed
from quantkit.targets.tensorrt.engine.plan import BuildSettings, Plan
from quantkit.targets.tensorrt.engine.shapes import Profile

log = logging.getLogger("quantkit")
LARGEST_TIMING_CACHE = 1 << 28  # bytes


@dataclass(frozen=True)
class Built:
    """A built engine.

    Attributes:
        plan: The serialized engine.
        without_range: The tensors for which implicit quantization found no range.
    """

    plan: bytes
    without_range: tuple[str, ...] = ()


def build(
    source: Path,
    plan: Plan,
    profiles: Sequence[Profile],
    settings: BuildSettings,
    amax: Mapping[str, float],
    exclude: Sequence[str],
    timing_cache: Path,
    progress: Progress = silent,
) -> Built:
    """Parse an ONNX file and build an engine.

    Args:
        source: The ONNX file.
        plan: How the engine is built.
        profiles: The optimization profiles.
        settings: The limits of the builder.
        amax: The ranges by tensor, for implicit quantization only.
        exclude: Wildcards for layers to keep in floating point, for implicit quantization only.
        timing_cache: The file of the timing cache, which is read and updated.
        progress: Receives the progress.

    Returns:
        The engine.

    Raises:
        TargetRefuses: TensorRT cannot parse or build the model.
        BackendMissing: TensorRT does not start on the GPU, or the GPU has too little memory.
    """
    trt = library.tensorrt()
    with library.starting():
        builder = trt.Builder(library.messages())
    network, parser = parsed(builder, source, plan.strong)
    config = builder.create_builder_config()
    without: list[str] = []
    if plan.half or plan.int8:
        implicit.set_precisions(config, plan.half, plan.int8)
    if not plan.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if plan.ranges:
        without = implicit.set_ranges(network, amax)
        implicit.keep_in_floating_point(network, config, exclude)
    if settings.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mb << 20)
    if settings.optimization_level is not None:
        config.builder_optimization_level = settings.optimization_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for the inspector, and layer times
    for profile in profiles:
        optimization = builder.create_optimization_profile()
        for name, shapes in profile.items():
            optimization.set_shape(name, shapes.least, shapes.best, shapes.largest)
        config.add_optimization_profile(optimization)
    cache = _timing_cache(config, timing_cache)
    with _monitored(config, plan.folder, progress):
        serialized = builder.build_serialized_network(network, config)
    del parser
    if serialized is None:
        raise _failure(source, plan)
    _save_timing_cache(cache, timing_cache)
    return Built(bytes(serialized), tuple(without))


def _failure(source: Path, plan: Plan) -> TargetRefuses | BackendMissing:
    reason = library.last_error()
    if "out of memory" in reason.lower() or "cudaErrorMemoryAllocation" in reason:
        return BackendMissing(
            f"The GPU has not enough memory to build {plan.folder} ({reason}).",
            "Use smaller shapes or --workspace, or free some.",
        )
    return TargetRefuses(f"TensorRT cannot build {plan.folder} from {source} ({reason}).", "Leave that precision out.")


def _timing_cache(config: Any, path: Path) -> Any:
    """Return the timing cache of earlier builds; a new one if there is none for this TensorRT and GPU."""
    data = b""
    if path.is_file() and path.stat().st_size < LARGEST_TIMING_CACHE:
        data = path.read_bytes()
    cache = config.create_timing_cache(data)
    if cache is None or not config.set_timing_cache(cache, False):
        if data:
            log.info("%s was made by another TensorRT or GPU; tactics are timed anew.", path)
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _save_timing_cache(cache: Any, path: Path) -> None:
    with atomic_file(path) as temporary:
        temporary.write_bytes(bytes(cache.serialize()))


def _monitored(config: Any, name: str, progress: Progress) -> AbstractContextManager[Any]:
    """Report the build's own phases if TensorRT reports them (since 10), else only its begin and end."""
    trt = library.tensorrt()
    if not hasattr(trt, "IProgressMonitor") or not hasattr(config, "progress_monitor"):
        return _begun_and_ended(name, progress)
    from quantkit.targets.tensorrt.engine.progress import monitored

    return monitored(config, name, progress)


@contextmanager
def _begun_and_ended(name: str, progress: Progress) -> Iterator[None]:
    with progress(f"building {name}", 1, "engine") as advance:
        yield
        advance(1)
