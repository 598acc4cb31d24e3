"""The report in a real browser: its script runs under its own content security policy and draws."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from quantkit.reports.html import html_report
from tests.reports.builders import HOSTILE, calibration, comparison, reference_row, row

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--dump-dom",
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")


def dom(source: str, fragment: str, folder: Path) -> str:
    report = folder / "report.html"
    report.write_text(source, encoding="utf-8")
    command = [CHROMIUM or "", *FLAGS, f"--user-data-dir={folder / 'profile'}", report.as_uri() + fragment]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.slow
def test_script_upgrades_the_table_and_draws_the_linked_tensor(tmp_path: Path) -> None:
    rows = [reference_row(target=HOSTILE[0]), row(target=HOSTILE[0]), reference_row(), row()]
    shown = dom(html_report(calibration(["conv1", *HOSTILE]), comparison(*rows), None), "#t1", tmp_path)
    root = re.search(r"<html[^>]*>", shown)
    assert root is not None
    assert "data-ready" in root[0]
    assert 'data-drawn="1"' in root[0]
    assert len(re.findall(r'class="bar"', shown)) > 50
    assert "entropy amax" in shown
    assert re.search(r"<th[^>]*><button[^>]*>p50 ms</button>", shown)
    assert len(re.findall(r"<script", shown)) == 2
