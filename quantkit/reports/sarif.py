"""The linter's findings as SARIF 2.1.0, which code scanning of GitHub, GitLab and Azure DevOps shows.

https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from quantkit.targets.tensorrt.lint.finding import RULES, Finding
from quantkit.version import __version__

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(findings: Mapping[Path, Sequence[Finding]]) -> dict[str, Any]:
    """Write a log of one run, with a result for each finding.

    A model has no lines: a result lies in line 1 of its file, because GitHub shows none without a line, and its nodes
    are logical locations. A fingerprint of rule and node tells the results of a file apart.

    Args:
        findings: The findings of each linted file.

    Returns:
        The log as a JSON object.
    """
    broken = {finding.rule for own in findings.values() for finding in own}
    rules = [name for name in RULES if name in broken]
    results = [_result(path, finding, rules.index(finding.rule)) for path, own in findings.items() for finding in own]
    driver = {"name": "quantkit", "version": __version__, "rules": [_rule(name) for name in rules]}
    return {"version": "2.1.0", "$schema": SCHEMA, "runs": [{"tool": {"driver": driver}, "results": results}]}


def _rule(name: str) -> dict[str, Any]:
    severity, hint = RULES[name]
    title = name.replace("-", " ")
    return {
        "id": name,
        "shortDescription": {"text": f"{title[:1].upper()}{title[1:]}"},
        "help": {"text": hint},
        "defaultConfiguration": {"level": severity},
    }


def _result(path: Path, finding: Finding, index: int) -> dict[str, Any]:
    place = "/".join((finding.rule, *finding.nodes))
    location: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": {"uri": _uri(path)}, "region": {"startLine": 1}},
    }
    if finding.nodes:
        location["logicalLocations"] = [{"name": name, "kind": "element"} for name in finding.nodes]
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": finding.severity,
        "message": {"text": f"{finding.what} {finding.hint}"},
        "locations": [location],
        "partialFingerprints": {"primaryLocationLineHash": hashlib.sha256(place.encode()).hexdigest()[:16]},
    }


def _uri(path: Path) -> str:
    """Return a URI that is relative to the folder quantkit runs in, as code scanning wants it; absolute outside it."""
    absolute, here = path.absolute(), Path.cwd()
    if not absolute.is_relative_to(here):
        return absolute.as_uri()
    return absolute.as_uri().removeprefix(here.as_uri().rstrip("/") + "/")
