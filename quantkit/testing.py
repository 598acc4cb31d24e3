"""The gate as an assertion for test suites.

from quantkit.testing import assert_gate

def test_int8_ships():
    assert_gate("runs/resnet50", "gates.toml", baseline="baseline/comparison.json")
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantkit.core.comparison import Comparison
    from quantkit.gates import GateResult, Rule


def assert_gate(
    run: Comparison | str | PathLike[str],
    rules: Sequence[Rule] | str | PathLike[str],
    baseline: Comparison | str | PathLike[str] | None = None,
) -> GateResult:
    """Assert that a run passes the gate.

    Rules of level "warn", and rules that cannot be decided, pass.

    Args:
        run: A comparison, a run directory or a ``comparison.json``.
        rules: The rules, or a TOML file of rules.
        baseline: An earlier comparison, run directory or ``comparison.json``, for rules against a baseline.

    Returns:
        The gate's result.

    Raises:
        AssertionError: A rule failed or matched nothing; the message has a line for each.
        BadInput: A file cannot be read.
    """
    __tracebackhide__ = True
    from quantkit.core.errors import NothingEvaluated
    from quantkit.reports.wording import measured, subject, worst_first
    from quantkit.results import gate

    try:
        result = gate(run, rules, baseline)
    except NothingEvaluated as error:
        raise AssertionError(str(error)) from None
    if not result.passed:
        lines = [
            f"{v.outcome}: {subject(v)}: {v.rule.describe()}, measured {measured(v)}{f' ({v.reason})' * bool(v.reason)}"
            for v in worst_first(result)
            if v.outcome != "pass"
        ]
        raise AssertionError("\n".join(["the gate is not passed", *lines]))
    return result
