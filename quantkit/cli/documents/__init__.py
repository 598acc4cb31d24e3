"""What each verb prints with ``--json``: one JSON object with a schema_version, the same shape for the same thing.

The JSON Schemas in ``docs/schemas`` are made from these by ``scripts/make_schemas.py``. May import ``core`` and
records of ``targets``.
"""

from __future__ import annotations

from quantkit.cli.documents.base import (
    Document,
    ErrorDocument,
    Failure,
)
from quantkit.cli.documents.looked_into import (
    CheckDocument,
    DoctorDocument,
    Fault,
    InspectRunDocument,
    LintDocument,
    LintFinding,
    ModelDocument,
    Parsed,
    QuantizedLayers,
    TargetState,
)
from quantkit.cli.documents.made import (
    BuildDocument,
    BuiltEngine,
    CalibrateDocument,
    ConvertDocument,
    ExportDocument,
    InitDocument,
    MatchedModel,
    Range,
    ShardDocument,
    WrittenDemoDocument,
    artifact_entries,
)
from quantkit.cli.documents.measured import (
    CompareDocument,
    DifferenceDocument,
    GateDocument,
    HistoryDocument,
    ReportDocument,
    RunDocument,
    SensitivityDocument,
    TuneDocument,
)
from quantkit.core.record import Record

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

__all__ = [
    "DOCUMENTS",
    "BuildDocument",
    "BuiltEngine",
    "CalibrateDocument",
    "CheckDocument",
    "CompareDocument",
    "ConvertDocument",
    "DifferenceDocument",
    "DoctorDocument",
    "Document",
    "ErrorDocument",
    "ExportDocument",
    "Failure",
    "Fault",
    "GateDocument",
    "HistoryDocument",
    "InitDocument",
    "InspectRunDocument",
    "LintDocument",
    "LintFinding",
    "MatchedModel",
    "ModelDocument",
    "Parsed",
    "QuantizedLayers",
    "Range",
    "ReportDocument",
    "RunDocument",
    "SensitivityDocument",
    "ShardDocument",
    "TargetState",
    "TuneDocument",
    "WrittenDemoDocument",
    "artifact_entries",
]
