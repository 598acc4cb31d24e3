"""The table of outputs: every output and part, and what could not be compared."""

from __future__ import annotations

from quantkit.core.comparison import OutputError
from quantkit.reports.content.outputs import output_table
from quantkit.reports.content.table import columns
from tests.reports.builders import comparison, page, reference_row, row

PARTS = (
    OutputError(output="y", sqnr_db=40.0),
    OutputError(output="y", part="<b>scores</b>", sqnr_db=3.5),
    OutputError(output="classes", equal=0.991),
    OutputError(output="selected", measured=False, left_out=200),
    OutputError(output="kept", sqnr_db=30.0, left_out=3),
)


def test_every_output_and_part_has_a_line() -> None:
    found = output_table([reference_row(), row(outputs=PARTS), row(batch=8, outputs=PARTS)])
    assert found is not None
    assert found.heads == ("openvino INT8, entropy",)
    assert dict(found.lines) == {
        "y": ("40.0 dB",),
        "y, part <b>scores</b>": ("3.5 dB",),
        "classes": ("99.1 % equal",),
        "selected": ("not compared",),
        "kept": ("30.0 dB, but for 3 samples of another size",),
    }


def test_one_plain_output_needs_no_table() -> None:
    assert output_table([reference_row(), row(outputs=PARTS[:1])]) is None
    assert output_table([reference_row(), row()]) is None


def test_the_page_shows_the_table_and_the_worst_part() -> None:
    found = page(compared=comparison(reference_row(), row(sqnr_db=40.0, outputs=PARTS)))
    assert "Outputs and their parts" in found.words
    assert "part <b>scores</b>" in found.words
    assert not found.count("b")


def test_the_column_tells_the_worse_part_and_what_was_not_measured() -> None:
    def cell(**changes: object) -> tuple[str, str]:
        compared = comparison(reference_row(), row(**changes))  # type: ignore[arg-type]
        column = next(column for column in columns(compared) if column.title == "SQNR dB")
        found = column.cell(compared.rows[1])
        return found.text, found.detail

    assert cell(sqnr_db=40.0, outputs=PARTS) == ("40.0", "3.5 in <b>scores</b>")
    assert cell(sqnr_db=None, outputs=(PARTS[2],)) == ("–", "")
    assert cell(sqnr_db=None, outputs=(OutputError(output="y"),)) == ("∞", "")
