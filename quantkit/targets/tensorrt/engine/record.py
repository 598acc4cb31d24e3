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

    ``layers`` are the layers of the first profile, as the engine inspector reports them.
    """

    schema_version: Literal[1] = 1
    precision: str
    mode: str
    where: Where
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
        where = self.where
        profiles = "; ".join(" ".join(f"{name}={shapes}" for name, shapes in own.items()) for own in self.profiles)
        return f"TensorRT {where.tensorrt}, {where.gpu}, driver for CUDA {where.driver}; {profiles}"
