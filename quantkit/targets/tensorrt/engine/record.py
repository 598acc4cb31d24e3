"""``engine.json``, which is stored beside ``model.engine`` and records how and where the engine was built."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from quantkit.core.record import Record

ENGINE_FILE = "model.engine"
ENGINE_RECORD = "engine.json"


class Where(Record):
    """The machine and software that an engine is bound to.

    Attributes:
        tensorrt: The version of TensorRT.
        gpu: The name of the GPU.
        compute_capability: The GPU's compute capability.
        driver: The newest CUDA version that the driver supports.
    """

    tensorrt: str
    gpu: str
    compute_capability: str
    driver: str

    def serves(self, here: Where) -> bool:
        """True if an engine built there runs here. A newer driver runs it; another TensorRT or GPU does not."""
        return (self.tensorrt, self.gpu) == (here.tensorrt, here.gpu)

    @property
    def version(self) -> str:
        """The version of the library."""
        return self.tensorrt

    def __str__(self) -> str:
        return f"TensorRT {self.tensorrt}, {self.gpu}, driver for CUDA {self.driver}"

    def differences(self, here: Where) -> list[str]:
        """Return how ``here`` differs from where the engine was built, in words: "TensorRT 8.6.0, here 10.3.0"."""
        found = []
        for field, title in (
            ("tensorrt", "TensorRT"),
            ("gpu", "GPU"),
            ("compute_capability", "compute capability"),
            ("driver", "driver for CUDA"),
        ):
            built, now = getattr(self, field), getattr(here, field)
            if built != now:
                found.append(f"{title} {built}, here {now}")
        return found


class AheadOfTime(Record):
    """What an engine of TensorRT for RTX is bound to.

    Attributes:
        tensorrt_rtx: The version of TensorRT for RTX.
        compute_capabilities: The compute capabilities of the GPUs that it runs on, such as "8.6".
    """

    tensorrt_rtx: str
    compute_capabilities: tuple[str, ...]

    def serves(self, here: Where) -> bool:
        """True if it runs on a machine."""
        return not self.differences(here)

    def differences(self, here: Where) -> list[str]:
        """Return what keeps it from running ``here``, in words: "compute capability 8.6, 8.9, here 12.0"."""
        found, built = [], ", ".join(self.compute_capabilities)
        if self.tensorrt_rtx != here.tensorrt:
            found.append(f"TensorRT for RTX {self.tensorrt_rtx}, here {here.tensorrt}")
        if here.compute_capability not in self.compute_capabilities:
            found.append(f"compute capability {built}, here {here.compute_capability}")
        return found

    @property
    def version(self) -> str:
        """The version of the library."""
        return self.tensorrt_rtx

    def __str__(self) -> str:
        return f"TensorRT for RTX {self.tensorrt_rtx}, for compute capability {', '.join(self.compute_capabilities)}"


class EngineLayer(Record):
    """A layer of a built engine.

    Attributes:
        name: The name.
        kind: TensorRT's layer type.
        precision: The precision that it computes in, such as "int8" or "f16".
    """

    name: str
    kind: str
    precision: str


class EngineRecord(Record):
    """The contents of ``engine.json``.

    ``layers`` are the layers of the first profile, as the engine inspector reports them; there are none if the engine
    was built where it cannot be loaded.
    """

    schema_version: Literal[1] = 1
    precision: str
    mode: str
    where: Where | AheadOfTime
    fingerprint: str
    engine_sha256: str
    profiles: tuple[dict[str, str], ...]
    optimization_level: int | None
    workspace_mb: int | None
    build_seconds: float
    executed_precision: str
    without_range: tuple[str, ...] = ()
    layers: tuple[EngineLayer, ...] = Field(default_factory=tuple)

    def cells(self) -> dict[str, str]:
        """Return the engine's row in a table for people, as text by column."""
        return {
            "precision": self.precision,
            "mode": self.mode,
            "layers in": self.executed_precision,
            "built in s": f"{self.build_seconds:.0f}",
        }

    def footnote(self) -> str:
        """Return what the engines of one build have in common, in words."""
        profiles = "; ".join(" ".join(f"{name}={shapes}" for name, shapes in own.items()) for own in self.profiles)
        return f"{self.where}; {profiles}"
