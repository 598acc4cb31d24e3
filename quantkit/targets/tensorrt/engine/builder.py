"""Builds a serialized engine from a plan and an ONNX file."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantkit.core.errors import BackendMissing, TargetRefuses
from quantkit.core.progress import Progress, silent
from quantkit.targets.tensorrt.engine import capabilities, implicit
from quantkit.targets.tensorrt.engine.libraries import TENSORRT, Library
from quantkit.targets.tensorrt.engine.network import parsed
from quantkit.targets.tensorrt.engine.plan import BuildSettings, Plan
from quantkit.targets.tensorrt.engine.plugins import load_plugins
from quantkit.targets.tensorrt.engine.shapes import Profile

log = logging.getLogger("quantkit")
SHARES_PROFILES = (10, 0)  # the first in which a profile serves several contexts by itself
LARGEST_TIMING_CACHE = 1 << 28  # bytes


@dataclass(frozen=True)
class Job:
    """An engine to build.

    Attributes:
        source: The ONNX file.
        plan: How the engine is built.
        profiles: The optimization profiles.
        settings: The limits of the builder.
        amax: The ranges by tensor, for implicit quantization only.
        exclude: Wildcards for layers to keep in floating point, for implicit quantization only.
        timing_cache: The file of the timing cache of earlier builds; None if the library times nothing.
        lib: The library that builds.
        capabilities: The compute capabilities to build for, for TensorRT for RTX only.
        device: The number of the GPU that the engine is inspected on; None if there is none.
    """

    source: Path
    plan: Plan
    profiles: Sequence[Profile]
    settings: BuildSettings
    amax: Mapping[str, float] = field(default_factory=dict)
    exclude: Sequence[str] = ()
    timing_cache: Path | None = None
    lib: Library = TENSORRT
    capabilities: Sequence[str] = ()
    device: int | None = None


@dataclass(frozen=True)
class Built:
    """A built engine.

    Attributes:
        plan: The serialized engine.
        without_range: The tensors for which implicit quantization found no range.
        timing_cache: The timing cache with what this build has timed; empty if nothing was.
    """

    plan: bytes
    without_range: tuple[str, ...] = ()
    timing_cache: bytes = b""


def build(job: Job, progress: Progress = silent) -> Built:
    """Parse an ONNX file and build an engine, in this process.

    Args:
        job: The engine to build.
        progress: Receives the progress.

    Returns:
        The engine.

    Raises:
        TargetRefuses: The library cannot parse or build the model.
        BackendMissing: The library does not start on the GPU, or the GPU has too little memory.
    """
    library, plan, settings = job.lib, job.plan, job.settings
    trt = library.tensorrt()
    load_plugins(library, settings.plugins)
    with library.starting():
        builder = trt.Builder(library.messages())
    network, parser = parsed(builder, job.source, plan.strong, library, job.profiles)
    _check_inputs(network, job)
    config = builder.create_builder_config()
    without: list[str] = []
    if plan.half or plan.int8:
        implicit.set_precisions(config, plan.half, plan.int8)
    if not plan.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if plan.ranges:
        without = implicit.set_ranges(network, job.amax)
        implicit.keep_in_floating_point(network, config, job.exclude)
    if settings.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mb << 20)
    if settings.optimization_level is not None:
        config.builder_optimization_level = settings.optimization_level
    if settings.sparse:
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    if library.interface() < SHARES_PROFILES and hasattr(trt.PreviewFeature, "PROFILE_SHARING_0806"):
        # Several requests at a time need several contexts of one profile.
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for the inspector, and layer times
    for profile in job.profiles:
        optimization = builder.create_optimization_profile()
        for name, shapes in profile.items():
            optimization.set_shape(name, shapes.least, shapes.best, shapes.largest)
        config.add_optimization_profile(optimization)
    if job.capabilities:
        capabilities.set_capabilities(library, config, job.capabilities)
    cache = None if job.timing_cache is None else _timing_cache(config, job.timing_cache)
    with _monitored(library, config, plan.folder, progress):
        serialized = builder.build_serialized_network(network, config)
    del parser
    if serialized is None:
        raise _failure(job)
    return Built(bytes(serialized), tuple(without), b"" if cache is None else bytes(cache.serialize()))


def _check_inputs(network: Any, job: Job) -> None:
    """Refuse a model that returns an input as it is: the parser renames the input, because outputs keep their names."""
    names = {network.get_input(number).name for number in range(network.num_inputs)}
    for name in job.profiles[0] if job.profiles else ():
        if name not in names and f"__{name}" in names:
            raise TargetRefuses(
                f"{job.lib.title} has another name for the input {name!r}, because it is an output, too.",
                "Remove that output from the model; what it returns is known.",
            )


def _failure(job: Job) -> TargetRefuses | BackendMissing:
    reason, name = job.lib.last_error(), job.plan.folder
    if "out of memory" in reason.lower() or "cudaErrorMemoryAllocation" in reason:
        return BackendMissing(
            f"The GPU has not enough memory to build {name} ({reason}).",
            "Use smaller shapes or less workspace, or free some.",
        )
    return TargetRefuses(
        f"{job.lib.title} cannot build {name} from {job.source} ({reason}).", "Leave that precision out."
    )


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


def _monitored(library: Library, config: Any, name: str, progress: Progress) -> AbstractContextManager[Any]:
    """Report the build's own phases if TensorRT reports them (since 10), else only its begin and end."""
    trt = library.tensorrt()
    if not hasattr(trt, "IProgressMonitor") or not hasattr(config, "progress_monitor"):
        return _begun_and_ended(name, progress)
    from quantkit.targets.tensorrt.engine.progress import monitored

    return monitored(library, config, name, progress)


@contextmanager
def _begun_and_ended(name: str, progress: Progress) -> Iterator[None]:
    with progress(f"building {name}", 1, "engine") as advance:
        yield
        advance(1)
