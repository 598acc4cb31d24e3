"""The Markdown summary."""

from __future__ import annotations

import re

import pytest

from quantkit.reports.markdown import escaped, markdown_summary
from tests.reports.builders import HOSTILE, calibration, comparison, gated, reference_row, row


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_has_verdict_rows_rules_environment_and_warnings() -> None:
    compared = comparison(warnings=("FP32 accuracy is near chance",))
    gate = gated({"metric": "drop.top1", "max": 0.01})
    text = markdown_summary(compared, gate, calibration(warnings=("few samples",)))
    assert text.startswith("**net.onnx: Ship**: the gate rule is met.\n")
    assert "- INT8 on openvino keeps 90.0 % top-1" in text
    assert "| Top-1 lost ≤ 1.00 points | openvino int8 | 0.50 points | 0.50 points | pass |" in text
    assert "Some CPU, 8 cores" in text
    assert "- FP32 accuracy is near chance\n- few samples\n" in text


def test_tables_are_rectangular_whatever_the_names() -> None:
    rows = [r for name in HOSTILE for r in (reference_row(target=name), row(target=name, variant=name))]
    text = markdown_summary(comparison(*rows), None, None)
    widths = {len(cells(line)) for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_plain_text(name: str) -> None:
    compared = comparison(reference_row(target=name), row(target=name), model=name, data=name, warnings=(name,))
    text = markdown_summary(compared, gated({"metric": name, "min": 1}, of=compared), calibration([name], method=name))
    assert not re.search(r"<[^|]", text)
    assert not re.search(r"(?<!\\)`", text)


def test_escaped() -> None:
    assert escaped("a|b`c`\n<b>*_[x]") == r"a\|b\`c\` &lt;b&gt;\*\_\[x\]"


def test_stays_under_sixty_lines_and_counts_the_rest() -> None:
    rows = [row(target=f"target{i}") for i in range(100)]
    compared = comparison(reference_row(), *rows, warnings=tuple(f"warning {i}" for i in range(50)))
    gate = gated({"metric": "drop.top1", "max": 0.001}, {"metric": "speedup", "min": 1}, of=compared)
    text = markdown_summary(compared, gate, calibration())
    assert len(text.splitlines()) < 60
    assert "… and 85 more rows in the report." in text
    assert "… and 190 more rules in the report." in text
    assert "… and 45 more" in text
    assert text.index("| fail |") > 0
    assert "| pass |" not in text  # the failures come first


def test_without_comparison() -> None:
    text = markdown_summary(None, None, calibration())
    assert text.startswith("**net.onnx: Calibrated, not compared yet**: run quantkit compare")
    assert "2 tensors of models/net.onnx calibrated with entropy on 100 samples" in text


def test_unlabelled() -> None:
    text = markdown_summary(comparison(reference_row(None), row(top1=None)), None, None)
    assert "Top-1" not in text
    assert "200 unlabelled samples" in text


def test_nothing_at_all() -> None:
    assert markdown_summary(None, None, None).startswith("**Calibrated, not compared yet**")
