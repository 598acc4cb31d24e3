"""Reports TensorRT's own progress of a build, which TensorRT provides since release 10."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from quantkit.core.progress import Advance, Progress
from quantkit.targets.tensorrt.engine.libraries import Library


@contextmanager
def monitored(library: Library, config: Any, name: str, progress: Progress) -> Iterator[None]:
    """Show each outermost phase of a build as a separate progress during the block.

    Args:
        library: The library of the builder.
        config: The builder's configuration.
        name: The name of the engine.
        progress: Receives the progress.
    """
    trt = library.tensorrt()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phase = ""
            self.display: AbstractContextManager[Advance] | None = None
            self.advance: Advance | None = None

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None and self.display is None:
                self.phase = phase_name
                self.display = progress(f"building {name}", num_steps, "steps")
                self.advance = self.display.__enter__()

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name == self.phase and self.advance is not None:
                self.advance(1)
            return True  # continue the build

        def phase_finish(self, phase_name: str) -> None:
            if phase_name == self.phase:
                self.close()

        def close(self) -> None:
            if self.display is not None:
                self.display.__exit__(None, None, None)
            self.display = self.advance = None
            self.phase = ""

    monitor = Monitor()
    config.progress_monitor = monitor
    try:
        yield
    finally:
        monitor.close()
