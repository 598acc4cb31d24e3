"""Each guide's own code and commands, run where the framework that it starts from is installed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEEDS = {
    "from-pytorch": ("torch", "torchvision", "onnxscript"),
    "from-tensorflow": ("tensorflow", "tf2onnx"),
    "from-ultralytics": ("ultralytics",),
    "from-hugging-face": ("transformers", "optimum.exporters.onnx"),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "scripts" / "check_docs.py").is_file(), reason="the docs are not here"),
]


def installed(module: str) -> bool:
    parent = module.split(".")[0]
    return importlib.util.find_spec(parent) is not None and importlib.util.find_spec(module) is not None


def checked(page: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "scripts" / "check_docs.py", "--page", page]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=ROOT)


@pytest.mark.parametrize("guide", NEEDS)
def test_the_guide_runs(guide: str) -> None:
    if missing := [module for module in NEEDS[guide] if not installed(module)]:
        pytest.skip(f"{', '.join(missing)} not installed")
    done = checked(f"docs/{guide}.md")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search(r"^skip .*needs ", done.stdout.replace("needs trained weights", ""), re.MULTILINE)


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    page = tmp_path / "made-up.md"
    blocks = ("quantkit inspect model.onnx", "quantkit inspect absent.onnx", "quantkit inspect model.onnx")
    page.write_text("\n".join(f"```sh\n{block}\n```\n" for block in blocks), encoding="utf-8")
    done = checked(str(page))
    assert done.returncode == 1
    assert [line.split()[0] for line in done.stdout.splitlines() if "made-up.md:" in line] == ["pass", "FAIL", "pass"]
    assert "absent.onnx" in done.stdout
