"""Documents of verbs that write files, from ``calibrate`` to ``convert``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quantkit.cli.documents.base import Document
from quantkit.core.record import Record
from quantkit.targets.tensorrt.engine.record import EngineRecord

if TYPE_CHECKING:
    from quantkit.core.artifact import Artifact
    from quantkit.core.layers import Layers


class LayersOf(Record):
    """The weighted layers of an artifact: how many, how many in INT8, and why the others are not."""

    total: int
    quantized: int
    left: dict[str, str]

    @classmethod
    def of(cls, layers: Layers) -> LayersOf:
        """Make it from an artifact's layers."""
        return cls(total=layers.total, quantized=layers.quantized, left=dict(layers.left))


class ArtifactEntry(Record):
    """An artifact: its files, the layers that are in INT8, and the file with the commands that run it."""

    target: str
    precision: str
    files: tuple[str, ...]
    layers: LayersOf | None
    notes: tuple[str, ...]
    commands: str | None

    @classmethod
    def of(cls, artifact: Artifact, commands: Path | None) -> ArtifactEntry:
        """Make it from an artifact."""
        return cls(
            target=artifact.target,
            precision=artifact.precision,
            files=tuple(map(str, artifact.files)),
            layers=None if artifact.layers is None else LayersOf.of(artifact.layers),
            notes=tuple(artifact.notes),
            commands=None if commands is None else str(commands),
        )


class Range(Record):
    """A tensor's range, and the method that chose it."""

    amax: float
    low: float
    high: float
    method: str


class CalibrateDocument(Document):
    """Of ``calibrate`` and ``merge``."""

    run: str
    method: str
    samples: int
    tensors: dict[str, Range]
    artifacts: tuple[ArtifactEntry, ...]
    warnings: tuple[str, ...]


class ShardDocument(Document):
    """Of ``calibrate --shard``."""

    part: str
    shard: str
    samples: int


class ExportDocument(Document):
    """Of ``export``."""

    artifacts: tuple[ArtifactEntry, ...]


class BuiltEngine(EngineRecord):
    """An engine's file, and its record."""

    engine: str


class BuildDocument(Document):
    """Of ``build``."""

    engines: tuple[BuiltEngine, ...]


class MatchedModel(Record):
    """How converted ranges fit the model: its float tensors, and names that only one of both has."""

    tensors: int
    missing: tuple[str, ...]
    fused: tuple[str, ...]
    parsers_own: tuple[str, ...]
    constants: tuple[str, ...]
    foreign: tuple[str, ...]


class ConvertDocument(Document):
    """Of ``convert``."""

    source: str
    form: str
    header: str | None
    to: str
    output: str
    ranges: int
    notes: tuple[str, ...]
    model: MatchedModel | None


class InitDocument(Document):
    """Of ``init``: the file, and the keys that are to be set in it."""

    config: str
    missing: tuple[str, ...]


class WrittenDemoDocument(Document):
    """Of ``demo --write-only``."""

    folder: str


def artifact_entries(artifacts: Sequence[Artifact], commands: dict[str, Path]) -> tuple[ArtifactEntry, ...]:
    """Describe artifacts; ``commands`` has the file with the commands of each target that has one."""
    return tuple(ArtifactEntry.of(artifact, commands.get(artifact.target)) for artifact in artifacts)
