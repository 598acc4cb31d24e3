"""The gate as JUnit XML."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from quantkit.gates import GateResult, Rule, gate
from quantkit.reports.junit import junit_xml
from tests.reports.builders import HOSTILE, comparison, gated, reference_row, row

PASS = {"metric": "drop.top1", "max": 0.01}
FAIL = {"metric": "speedup", "min": 9}
WARN = {"metric": "sqnr_db", "min": 90, "level": "warn"}
MISSING = {"metric": "top5", "min": 0.9}


SCHEMA = Path(__file__).with_name("junit.xsd")


def suite_of(gate: GateResult) -> ElementTree.Element:
    suites = ElementTree.fromstring(junit_xml(gate)).findall("testsuite")
    assert len(suites) == 1
    return suites[0]


def test_one_case_per_verdict_and_right_counts() -> None:
    suite = suite_of(gated(PASS, FAIL, WARN, MISSING))
    cases = suite.findall("testcase")
    assert [case.attrib["name"] for case in cases] == [
        "drop.top1 ≤ 1.00 points",
        "speedup ≥ 9x",
        "sqnr_db ≥ 90 dB",
        "top5 ≥ 90.00 %",
    ]
    assert [case.attrib["classname"] for case in cases[:3]] == ["quantkit.openvino.int8"] * 3
    assert [suite.attrib[key] for key in ("tests", "failures", "errors", "skipped")] == ["4", "1", "1", "0"]
    assert [[child.tag for child in case] for case in cases] == [
        ["system-out"],
        ["failure", "system-out"],
        ["system-out"],
        ["error"],
    ]


def test_messages_give_the_measured_value() -> None:
    failure = suite_of(gated(FAIL)).find("testcase/failure")
    assert failure is not None
    assert failure.attrib["message"] == "openvino int8: speedup measured 2.5x, asked speedup ≥ 9x"
    warning = suite_of(gated(WARN)).find("testcase/system-out")
    assert warning is not None
    assert "measured 25.3 dB" in (warning.text or "")


def test_what_cannot_be_judged_is_skipped_or_where_strict_an_error() -> None:
    rule = {"metric": "latency_ms.p50", "against": "baseline", "max_rise": "5 %"}
    elsewhere = comparison(reference_row(), row())
    elsewhere = elsewhere.model_copy(
        update={"environment": elsewhere.environment.model_copy(update={"cpu": "another"})}
    )
    for strict, tag in ((False, "skipped"), (True, "error")):
        suite = suite_of(gate(comparison(reference_row(), row()), [Rule(**rule, strict=strict)], elsewhere))
        (case,) = suite.findall("testcase")
        (child,) = case
        assert child.tag == tag
        assert "other hardware" in child.attrib["message"]
        assert suite.attrib[f"{tag}s" if tag == "error" else tag] == "1"


def test_it_is_what_ci_systems_read() -> None:
    xmlschema = pytest.importorskip("xmlschema")
    schema = xmlschema.XMLSchema(SCHEMA)
    hostile = comparison(reference_row(), row(target=HOSTILE[0], precision="int8"), row(target=HOSTILE[3]))
    for result in (
        gated(PASS, FAIL, WARN, MISSING),
        GateResult(()),
        gated(PASS, FAIL, of=hostile),
    ):
        schema.validate(junit_xml(result).encode())
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        schema.validate(junit_xml(gated(PASS)).replace("testcase", "test").encode())


def test_a_case_tells_its_latency_value_and_limit() -> None:
    suite = suite_of(gated(PASS, MISSING))
    passed, missing = suite.findall("testcase")
    told = passed.findtext("system-out")
    assert told is not None
    assert told.splitlines() == ["measured: 0.50 points", "limit: 1.00 points", "margin: 0.50 points"]
    latency = next(r.latency_ms.p50 for r in comparison(reference_row(), row()).rows if r.precision == "int8")
    assert float(passed.attrib["time"]) == float(suite.attrib["time"]) == pytest.approx(latency / 1000) != 0
    assert float(missing.attrib["time"]) == 0


def test_suite_is_named() -> None:
    root = ElementTree.fromstring(junit_xml(gated(PASS), suite="release"))
    assert root.find("testsuite[@name='release']") is not None


def test_no_rules_is_an_error_not_a_pass() -> None:
    suite = suite_of(GateResult(()))
    assert (suite.attrib["tests"], suite.attrib["errors"]) == ("1", "1")


def test_rows_of_one_name_make_different_cases() -> None:
    compared = comparison(reference_row(), row(), row(batch=8))
    cases = suite_of(gated(PASS, of=compared)).findall("testcase")
    assert len({(case.attrib["classname"], case.attrib["name"]) for case in cases}) == 2


def test_names_that_xml_forbids_or_must_escape() -> None:
    for name in (*HOSTILE, "bell\x07\x00null\x1b[31m\ufffe"):
        compared = comparison(reference_row(target=name), row(target=name))
        suite = suite_of(gated(FAIL, of=compared))
        case = suite.find("testcase")
        assert case is not None
        if name in HOSTILE:
            assert name in case.attrib["classname"]
        else:
            assert case.attrib["classname"] == "quantkit.bellnull[31m.int8"
