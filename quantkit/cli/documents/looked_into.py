"""Documents of verbs that look into something: ``inspect``, ``check``, ``lint`` and ``doctor``."""

from __future__ import annotations

from typing import Literal

from quantkit.cli.documents.base import Document
from quantkit.cli.documents.made import LayersOf
from quantkit.core.calibration import Calibration
from quantkit.core.comparison import Environment
from quantkit.core.record import Record


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
