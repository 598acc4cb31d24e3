"""quantkit gate --init."""

from __future__ import annotations

import pytest

from quantkit.config import parse_config
from quantkit.core.comparison import Change, Interval
from quantkit.core.errors import NothingEvaluated
from quantkit.gates import Rule, gate
from quantkit.gates.starter import starter_rules
from tests.gates.builders import comparison, row, run

tomllib = pytest.importorskip("tomllib")


def rules_of(text: str) -> list[Rule]:
    return parse_config(tomllib.loads(text), "a test").gate


def test_the_rules_pass_what_they_come_from() -> None:
    of = run()
    rules = rules_of(starter_rules(of)[0])
    assert [rule.metric for rule in rules] == ["drop.top1", "agreement", "sqnr_db", "speedup"]
    assert gate(of, rules).exit_code == 0
    assert [rule.max or rule.min for rule in rules] == [0.01, 0.98, 28, pytest.approx(1.7)]


def test_a_little_worse_passes_and_much_worse_does_not() -> None:
    rules = rules_of(starter_rules(run())[0])
    assert gate(run(1.1), rules).exit_code == 0
    assert gate(run(1.4), rules).exit_code == 1
    worse = comparison(*run().rows[:2], row("openvino", "int8", drop={"top1": 0.02}, speedup=2.0))
    assert gate(worse, rules).exit_code == 1


def test_the_commented_rules_hold_against_a_baseline() -> None:
    text = starter_rules(run())[0]
    commented = text[text.index("# With --baseline") :].splitlines()[1:]
    rules = rules_of("\n".join(line.removeprefix("#").strip() for line in commented))
    assert [rule.against for rule in rules] == ["baseline"] * 2
    assert gate(run(), rules, run()).exit_code == 0
    assert gate(run(1.2), rules, run()).exit_code == 1


def test_every_target_has_its_own_speed() -> None:
    of = comparison(row("openvino", "int8", speedup=2.0), row("onnxruntime", "int8", speedup=1.1))
    rules = [rule for rule in rules_of(starter_rules(of)[0]) if rule.metric == "speedup"]
    assert [(rule.target, rule.min) for rule in rules] == [("openvino", 1.7), ("onnxruntime", 1.0)]


def test_the_run_itself_is_judged_by_every_rule() -> None:
    wide = Interval(value=3.0, low=2.3, high=3.9)
    of = comparison(row("openvino", "int8", speedup=3.0, speedup_interval=wide))
    text, _ = starter_rules(of)
    (speed,) = [rule for rule in rules_of(text) if rule.metric == "speedup"]
    assert speed.min is not None and speed.min <= 2.3
    assert {verdict.outcome for verdict in gate(of, rules_of(text)).verdicts} == {"pass"}


def test_nothing_is_written_that_the_run_would_be_ashamed_of() -> None:
    lost = {"drop": {"top1": 0.05}, "changes": {"top1": Change(lost=60, won=10, low=0.03, high=0.07, p_value=1e-9)}}
    of = comparison(
        row("openvino", "int8", speedup=2.0, **lost),
        row("onnxruntime", "int8", speedup=0.8),
    )
    text, left_out = starter_rules(of)
    rules = rules_of(text)
    assert left_out == [
        "There is no rule of accuracy for openvino: "
        "INT8 loses 5.00 points of top-1, which is more than chance (p = 1e-09).",
        "There is no rule of speed for onnxruntime: INT8 is slower than FP32 here (0.80x).",
    ]
    assert [(rule.target, rule.metric) for rule in rules] == [
        *(("onnxruntime", metric) for metric in ("drop.top1", "agreement", "sqnr_db")),
        ("openvino", "speedup"),
    ]
    assert gate(of, rules).exit_code == 0


def test_without_labels_there_is_no_rule_of_accuracy() -> None:
    of = comparison(row("openvino", "int8", metrics={}, drop={}))
    assert "drop." not in starter_rules(of)[0]
    assert gate(of, rules_of(starter_rules(of)[0])).exit_code == 0


def test_few_samples_make_a_wide_rule_that_is_still_one() -> None:
    wide = Change(lost=2, won=1, low=-0.2, high=0.3, p_value=1.0)
    of = comparison(row("openvino", "int8", drop={"top1": 0.05}, changes={"top1": wide}))
    assert gate(of, rules_of(starter_rules(of)[0])).exit_code == 0


def test_without_int8_there_is_nothing_to_write() -> None:
    with pytest.raises(NothingEvaluated, match="no INT8 row"):
        starter_rules(comparison(row("openvino", "fp16")))
