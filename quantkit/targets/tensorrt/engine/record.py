"""``engine.json``: what an engine was built from, with and for; it lies beside ``model.engine``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from quantkit.core.record import Record

ENGINE_FILE = "model.engine"
ENGINE_RECORD = "engine.json"


class Where(Record):
    """What an engine is bound to."""

    tensorrt: str
    gpu: str
    compute_capability: str
    driver: str

    def serves(self, here: Where) -> bool:
        """True if an engine built there runs here: a newer driver runs it, another TensorRT or GPU does not."""
        return (self.tensorrt, self.gpu) == (here.tensorrt, here.gpu)

    def differences(self, here: Where) -> list[str]:
        """In words, how ``here`` differs from where the engine was built: "TensorRT 8.6.0, here 10.3.0"."""
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
    """One layer of the built engine: its name, TensorRT's layer type, and what it computes in ("int8", "f16")."""

    name: str
    kind: str
    precision: str


class EngineRecord(Record):
    """What ``engine.json`` holds. ``layers`` are those of the first profile, as the engine inspector tells them."""

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
        """What people are told of one engine, by column."""
        return {
            "precision": self.precision,
            "mode": self.mode,
            "layers in": self.executed_precision,
            "built in s": f"{self.build_seconds:.0f}",
        }

    def footnote(self) -> str:
        """What the engines of one build have in common."""
        where = self.where
        profiles = "; ".join(" ".join(f"{name}={shapes}" for name, shapes in own.items()) for own in self.profiles)
        return f"TensorRT {where.tensorrt}, {where.gpu}, driver for CUDA {where.driver}; {profiles}"
