"""The gate's result as JUnit XML, which CI systems show with the tests."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from quantkit.core.comparison import Row
from quantkit.core.errors import GateFailed, NothingEvaluated
from quantkit.gates import GateResult, Verdict
from quantkit.reports.wording import margin, measured, subject

FORBIDDEN_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(gate: GateResult, suite: str = "quantkit gate") -> str:
    """Make a test suite with a test case for each rule and row.

    A case's time is the median latency of its row in seconds; what was measured, and the limit, are in system-out.
    A rule that is missed is a failure; with level "warn" it passes, with its message there. A rule that matches
    nothing is an error. A rule that cannot be judged is skipped, or an error if it is strict. A gate without rules is
    one error, so that it does not look like a pass.

    Args:
        gate: The gate's result.
        suite: The name of the suite.

    Returns:
        The XML document.
    """
    cases = [_case(verdict) for verdict in gate.verdicts] or [_no_rules()]
    seen: dict[tuple[str, str], int] = {}
    for case in cases:  # CI systems identify cases by class and name
        key = (case.attrib["classname"], case.attrib["name"])
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 1:
            case.set("name", f"{key[1]} ({seen[key]})")
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "skipped": str(sum(case.find("skipped") is not None for case in cases)),
        "time": f"{sum(float(case.attrib['time']) for case in cases):.6f}",
    }
    name = _clean(suite)
    totals = {key: value for key, value in counts.items() if key != "skipped"}  # Jenkins' schema does not allow it here
    root = ElementTree.Element("testsuites", {"name": name, **totals})
    ElementTree.SubElement(root, "testsuite", {"name": name, **counts}).extend(cases)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _case(verdict: Verdict) -> ElementTree.Element:
    source, rule = verdict.row or verdict.rule, verdict.rule
    case = _element(f"quantkit.{source.target}.{source.precision}", rule.describe(), verdict.row)
    message = f"{subject(verdict)}: {rule.metric} measured {measured(verdict)}, asked {rule.describe()}"
    why = f" ({verdict.reason})" if verdict.reason else ""
    if verdict.outcome == "no match":
        missing = f"{rule.describe()} for {rule.target}/{rule.precision} matched nothing in comparison.json{why}"
        _add(case, "error", missing, NothingEvaluated.__name__)
    elif verdict.outcome == "not comparable" and rule.strict:
        _add(case, "error", f"{rule.describe()} cannot be judged{why}", NothingEvaluated.__name__)
    elif verdict.outcome in ("not comparable", "inconclusive"):
        ElementTree.SubElement(case, "skipped", {"message": _clean(f"{verdict.outcome}: {message}{why}")})
    elif verdict.outcome == "fail":
        _add(case, "failure", message, GateFailed.__name__)
    if verdict.value is not None and verdict.limit is not None:
        told = [f"warning: {message}"] if verdict.outcome == "warn" else []
        told += [f"measured: {measured(verdict)}", f"limit: {rule.format(verdict.limit)}", f"margin: {margin(verdict)}"]
        ElementTree.SubElement(case, "system-out").text = _clean("\n".join(told))
    return case


def _no_rules() -> ElementTree.Element:
    case = _element("quantkit.gate", "gate rules")
    _add(case, "error", "There are no gate rules.", NothingEvaluated.__name__)
    return case


def _element(classname: str, name: str, row: Row | None = None) -> ElementTree.Element:
    seconds = 0.0 if row is None else row.latency_ms.p50 / 1000
    attributes = {"classname": _clean(classname), "name": _clean(name), "time": f"{seconds:.6f}"}
    return ElementTree.Element("testcase", attributes)


def _add(case: ElementTree.Element, tag: str, message: str, kind: str) -> None:
    child = ElementTree.SubElement(case, tag, {"message": _clean(message), "type": kind})
    child.text = _clean(message)


def _clean(text: str) -> str:
    return FORBIDDEN_IN_XML.sub("", text)
