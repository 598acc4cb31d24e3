"""What each verb prints with ``--json``: one JSON object with a schema_version, the same shape for the same thing.

The JSON Schemas in ``docs/schemas`` are made from these by ``scripts/make_schemas.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from quantkit.core.calibration import Calibration
from quantkit.core.comparison import Comparison, Environment
from quantkit.core.record import Record
from quantkit.core.sensitivity import Sensitivity
from quantkit.core.tuning import Tuning
from quantkit.targets.tensorrt.engine.record import EngineRecord

if TYPE_CHECKING:
    from quantkit.core.artifact import Artifact
    from quantkit.core.layers import Layers


class Document(Record):
    """One JSON document.

    Attributes:
        schema_version: Raised when a key changes its meaning or goes; keys that are added do not raise it.
    """

    schema_version: Literal[1] = 1


class Failure(Record):
    """What is wrong, how to mend it, and the exit code."""

    what: str
    hint: str
    exit_code: int


class ErrorDocument(Document):
    """What any verb prints with ``--json`` if it fails."""

    error: Failure


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


class Fault(Record):
    """What a parser refuses, where, and what to do; ``operator`` is None if it is no operator's fault."""

    operator: str | None
    nodes: tuple[str, ...]
    what: str
    hint: str


class Parsed(Record):
    """What one parser says of a model; ``reason`` tells why it did not look at it."""

    parser: str
    checked: bool
    faults: tuple[Fault, ...]
    reason: str
    hint: str


class CheckDocument(Document):
    """Of ``check``."""

    model: str
    refused_by: tuple[str, ...]
    targets: dict[str, tuple[Parsed, ...]]


class LintFinding(Record):
    """A pair that breaks a rule."""

    rule: str
    severity: Literal["error", "warning", "note"]
    nodes: tuple[str, ...]
    what: str
    hint: str


class LintDocument(Document):
    """Of ``lint``."""

    model: str
    errors: int
    warnings: int
    notes: int
    findings: tuple[LintFinding, ...]


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


class CompareDocument(Comparison):
    """Of ``compare``: the contents of ``comparison.json``."""


class ReportDocument(Document):
    """Of ``report``."""

    report: str
    chart: str | None = None


class Difference(Record):
    """One figure before and after."""

    metric: str
    before: float | None
    after: float | None
    outcome: str
    reason: str


class DifferingRow(Record):
    """The figures of a row that both runs or one of them has."""

    target: str
    device: str
    precision: str
    batch: int
    before: bool
    after: bool
    figures: tuple[Difference, ...]


class DifferenceDocument(Document):
    """Of ``report RUN RUN``."""

    report: str
    rows: tuple[DifferingRow, ...]


class Release(Record):
    """A run of a history, and in words what differs from the one before."""

    run: str
    measured: str
    model: str
    differs: tuple[str, ...]


class Reading(Record):
    """A figure of one run, with its interval."""

    run: str
    value: float | None
    low: float | None
    high: float | None


class TrendRow(Record):
    """A figure of one target and precision over the runs."""

    target: str
    device: str
    precision: str
    batch: int
    shape: str
    readings: tuple[Reading, ...]


class Trend(Record):
    """A figure over the runs; ``breaks`` names the runs that cannot be compared with the one before, and why."""

    metric: str
    title: str
    better: str
    breaks: dict[str, str]
    rows: tuple[TrendRow, ...]


class HistoryDocument(Document):
    """Of ``history``."""

    runs: tuple[Release, ...]
    figures: tuple[Trend, ...]
    page: str | None = None


class Origin(Record):
    """A judged comparison: where it lies, and what it was measured on."""

    path: str | None
    model: str
    measured: str
    hardware: str
    data_sha256: str


class JudgedRow(Record):
    """The row that a rule was applied to."""

    target: str
    device: str
    precision: str
    variant: str
    batch: int


class JudgedRule(Record):
    """A rule's settings (``rule`` is all of them in words), and its outcome on one row."""

    metric: str
    target: str
    precision: str
    min: float | None
    max: float | None
    against: str | None
    max_fall: float | str | None
    max_rise: float | str | None
    statistic: str
    level: str
    strict: bool
    rule: str
    row: JudgedRow | None
    measured: float | None
    limit: float | None
    margin: float | None
    other: float | None
    outcome: str
    reason: str


class GateDocument(Document):
    """Of ``gate``: the contents of ``gate.json``."""

    passed: bool
    exit_code: int
    run: Origin
    baseline: Origin | None
    rules: tuple[JudgedRule, ...]


class RunDocument(Document):
    """Of ``run`` and ``demo``; ``passed`` is None if there are no rules."""

    run: str
    comparison: Comparison
    passed: bool | None
    exit_code: int
    tuning: Tuning | None = None


class SensitivityDocument(Sensitivity):
    """Of ``sensitivity``: the contents of ``sensitivity.json``."""


class TuneDocument(Tuning):
    """Of ``tune``: the contents of ``tuning.json``, in which ``run`` is what was tuned; ``output`` is the result."""

    output: str


class Port(Record):
    """An input or output of a model."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    batch_axis: int | None


class Sparse(Record):
    """Layers with 2:4 sparse weights, those that nearly are, how many could be, and the share of zeros."""

    layers: tuple[str, ...]
    nearly: tuple[str, ...]
    possible: int
    share: float


class QuantizedAs(Record):
    """How a model is quantized already."""

    pairs: int
    operators: dict[str, int]
    types: tuple[str, ...]
    dialect: str


class ModelDocument(Document):
    """Of ``inspect MODEL``."""

    path: str
    sha256: str
    opset: int
    size_bytes: int
    parameters: int
    activations: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operators: dict[str, int]
    rewritten: tuple[str, ...]
    says: tuple[str, ...]
    sparsity: Sparse
    quantized: QuantizedAs | None


class QuantizedLayers(LayersOf):
    """The layers of one of a run's artifacts."""

    target: str
    variant: str


class InspectRunDocument(Calibration):
    """Of ``inspect RUN``: the contents of ``calibration.json``, and the layers of the artifacts."""

    layers: tuple[QuantizedLayers, ...]


class TargetState(Record):
    """Whether a target works here, and if not, why and what to do."""

    works: bool
    version: str
    devices: tuple[str, ...]
    exports: bool
    reason: str
    hint: str


class DoctorDocument(Document):
    """Of ``doctor``."""

    environment: Environment
    counting_kernel: bool
    seven_bit_weights: bool
    targets: dict[str, TargetState]


class InitDocument(Document):
    """Of ``init``: the file, and the keys that are to be set in it."""

    config: str
    missing: tuple[str, ...]


class WrittenDemoDocument(Document):
    """Of ``demo --write-only``."""

    folder: str


DOCUMENTS: dict[str, type[Record]] = {
    "error": ErrorDocument,
    "init": InitDocument,
    "demo": RunDocument,
    "demo-write-only": WrittenDemoDocument,
    "doctor": DoctorDocument,
    "run": RunDocument,
    "check": CheckDocument,
    "calibrate": CalibrateDocument,
    "calibrate-shard": ShardDocument,
    "merge": CalibrateDocument,
    "export": ExportDocument,
    "build": BuildDocument,
    "convert": ConvertDocument,
    "compare": CompareDocument,
    "report": ReportDocument,
    "report-difference": DifferenceDocument,
    "history": HistoryDocument,
    "gate": GateDocument,
    "sensitivity": SensitivityDocument,
    "tune": TuneDocument,
    "inspect-model": ModelDocument,
    "inspect-run": InspectRunDocument,
    "lint": LintDocument,
}


def artifact_entries(artifacts: Sequence[Artifact], commands: dict[str, Path]) -> tuple[ArtifactEntry, ...]:
    """Describe artifacts; ``commands`` has the file with the commands of each target that has one."""
    return tuple(ArtifactEntry.of(artifact, commands.get(artifact.target)) for artifact in artifacts)
