"""``quantkit history``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Quantkit
from tests.reports.builders import comparison, reference_row, row


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two archived comparisons."""
    found = []
    for number, top1 in enumerate((0.9, 0.7)):
        folder = tmp_path / f"v{number}"
        folder.mkdir()
        compared = comparison(reference_row(), row(top1=top1))
        moment = {"measured": f"2026-0{number + 1}-01T00:00:00+00:00"}
        environment = compared.environment.model_copy(update=moment)
        compared = compared.model_copy(update={"environment": environment})
        (folder / "comparison.json").write_text(compared.model_dump_json(), "utf-8")
        found.append(folder)
    return found


def test_a_table_a_document_and_a_page(runs: list[Path], tmp_path: Path, invoked: Quantkit) -> None:
    table = invoked("history", *reversed(runs))
    assert table.returncode == 0
    assert [line.split()[3:5] for line in table.stdout.splitlines()[1:]] == [["v0", "2026-01-01"], ["v1", "2026-02-01"]]
    page = tmp_path / "history.html"
    done = invoked("history", *runs, "--json", "--output", page)
    document = json.loads(done.stdout)
    assert [run["run"] for run in document["runs"]] == ["v0", "v1"]
    assert Path(document["page"]) == page
    assert "Worse" in page.read_text("utf-8")
    page.write_text("mine", "utf-8")
    assert invoked("history", *runs, "-o", page).returncode == 2


def test_it_takes_two_compared_runs(runs: list[Path], tmp_path: Path, invoked: Quantkit) -> None:
    alone = invoked("history", runs[0])
    assert (alone.returncode, "needs two" in alone.stderr) == (2, True)
    assert invoked("history", runs[0], runs[0]).returncode == 2
    assert "no run directory" in invoked("history", runs[0], tmp_path / "none").stderr
