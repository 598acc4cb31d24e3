from __future__ import annotations

from quantkit.core.wording import LONGEST_LINE, choice_of, line_of


def test_one_line_stands_for_an_error() -> None:
    error = ValueError("\nwhat happened\nwhere\n")
    assert line_of(error) == "what happened"
    assert line_of(error, last=True) == "where"
    assert len(line_of(ValueError("x" * 9999))) == LONGEST_LINE


def test_an_error_without_a_message_is_called_by_its_type() -> None:
    for error in (KeyboardInterrupt(), RuntimeError(""), ValueError(" \n ")):
        assert line_of(error) == line_of(error, last=True) == type(error).__name__


def test_what_may_be_meant_is_said_first() -> None:
    assert choice_of("entrpy", ["minmax", "entropy"]) == "Did you mean 'entropy'? Choose one of: minmax, entropy."
    assert choice_of("ENTROPY", ["minmax", "entropy"]).startswith("Did you mean 'entropy'?")
    assert choice_of("xyz", ["minmax", "entropy"]) == "Choose one of: minmax, entropy."
    assert choice_of("", iter(["a"])) == "Choose one of: a."
