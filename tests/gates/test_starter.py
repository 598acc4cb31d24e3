"""quantkit gate --init."""

from __future__ import annotations

import pytest

from quantkit.config import parse_config
from quantkit.core.comparison import Change
from quantkit.core.errors import NothingEvaluated
from quantkit.gates import Rule, gate
from quantkit.gates.starter import starter_rules
from tests.gates.builders import comparison, row, run

tomllib = pytest.importorskip("tomllib")


def rules_of(text: str) -> list[Rule]:
    return parse_config(tomllib.loads(text), "a test").gate


def test_the_rules_pass_what_they_come_from() -> None:
    of = run()
    rules = rules_of(starter_rules(of))
    assert [rule.metric for rule in rules] == ["drop.top1", "agreement", "sqnr_db", "speedup"]
    assert gate(of, rules).exit_code == 0
    assert [rule.max or rule.min for rule in rules] == [0.01, 0.98, 28, pytest.approx(1.7)]


def test_a_little_worse_passes_and_much_worse_does_not() -> None:
    rules = rules_of(starter_rules(run()))
    assert gate(run(1.1), rules).exit_code == 0
    assert gate(run(1.4), rules).exit_code == 1
    worse = comparison(*run().rows[:2], row("openvino", "int8", drop={"top1": 0.02}, speedup=2.0))
    assert gate(worse, rules).exit_code == 1


def test_the_commented_rules_hold_against_a_baseline() -> None:
    text = starter_rules(run())
    commented = text[text.index("# With --baseline") :].splitlines()[1:]
    rules = rules_of("\n".join(line.removeprefix("#").strip() for line in commented))
    assert [rule.against for rule in rules] == ["baseline"] * 2
    assert gate(run(), rules, run()).exit_code == 0
    assert gate(run(1.2), rules, run()).exit_code == 1


def test_every_target_has_its_own_speed() -> None:
    of = comparison(row("openvino", "int8", speedup=2.0), row("onnxruntime", "int8", speedup=0.8))
    rules = [rule for rule in rules_of(starter_rules(of)) if rule.metric == "speedup"]
    assert [(rule.target, rule.min) for rule in rules] == [("openvino", 1.7), ("onnxruntime", pytest.approx(0.65))]


def test_without_labels_there_is_no_rule_of_accuracy() -> None:
    of = comparison(row("openvino", "int8", metrics={}, drop={}))
    assert "drop." not in starter_rules(of)
    assert gate(of, rules_of(starter_rules(of))).exit_code == 0


def test_few_samples_make_a_wide_rule_that_is_still_one() -> None:
    wide = Change(lost=2, won=1, low=-0.2, high=0.3, p_value=1.0)
    of = comparison(row("openvino", "int8", drop={"top1": 0.05}, changes={"top1": wide}))
    assert gate(of, rules_of(starter_rules(of))).exit_code == 0


def test_without_int8_there_is_nothing_to_write() -> None:
    with pytest.raises(NothingEvaluated, match="no INT8 row"):
        starter_rules(comparison(row("openvino", "fp16")))
