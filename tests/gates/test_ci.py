"""docs/ci.md, run: its jobs, its rules, and what GitHub Actions gets to see."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from quantkit import load_comparison, report, show
from quantkit.config_files import load_config
from quantkit.testing import assert_gate
from tests.conftest import write_images

yaml = pytest.importorskip("yaml")
pytest.importorskip("openvino")
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8") if (ROOT / "docs" / "ci.md").is_file() else ""
EASY = '[[gate]]\nmetric = "agreement"\nmin = 0.5\n'


def block(heading: str, language: str) -> str:
    """The code under a heading."""
    found = re.search(rf"^## {heading}$.*?^```{language}\n(.*?)^```", PAGE, re.M | re.S)
    assert found, heading
    return found[1]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository as the page has it: a model, images, rules, and quantkit on the PATH."""
    import onnx

    from tests.conftest import tiny_model

    folder = tmp_path_factory.mktemp("project")
    onnx.save(tiny_model(), folder / "model.onnx")
    write_images(folder / "imgs" / "calib", per_class=4)
    write_images(folder / "imgs" / "eval", per_class=4)
    (folder / "gates.toml").write_text(EASY)
    (folder / "quantkit.toml").write_text("[compare]\nseconds = 0.3\n")  # measured briefly
    tools = folder / "tools"
    tools.mkdir()
    (tools / "quantkit").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m quantkit "$@"\n')
    (tools / "pip").write_text('#!/bin/sh\ntest "$*" = "install quantkit-int8[openvino]"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    return folder


def job(project: Path, script: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A job's shell: it ends at the first command that fails, as those of all three systems do."""
    path = f"{project / 'tools'}{os.pathsep}{os.environ['PATH']}"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "QUANTKIT_"))}
    python = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=project,
        env={**clean, **python, "PATH": path, **env},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def compared(project: Path) -> Path:
    """The folder after GitHub's job of the page, its summary in summary.txt."""
    steps = yaml.safe_load(block("GitHub Actions", "yaml"))["jobs"]["gate"]["steps"]
    for step in (step["run"] for step in steps if "run" in step):
        done = job(project, step, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(project / "summary.txt"))
        assert done.returncode == 0, done.stderr
    assert "::" not in done.stdout  # nothing to annotate
    return project


def test_githubs_job_leaves_what_the_page_promises(compared: Path) -> None:
    uploaded = yaml.safe_load(block("GitHub Actions", "yaml"))["jobs"]["gate"]["steps"][-1]["with"]["path"]
    for name in uploaded.split():
        assert (compared / name).stat().st_size > 0
    summary = (compared / "summary.txt").read_text(encoding="utf-8")
    assert summary.startswith("**model.onnx: Ship**")
    assert len(summary.splitlines()) < 60
    assert json.loads((compared / "out" / "gate.json").read_text())["passed"] is True


def test_gitlabs_and_jenkins_jobs_run(compared: Path) -> None:
    gitlab = yaml.safe_load(block("GitLab", "yaml"))["int8"]
    jenkins = re.findall(r"sh '(.*)'", block("Jenkins", "groovy"))
    assert gitlab["script"] == jenkins
    (compared / "gate.xml").unlink()
    done = job(compared, "\n".join(jenkins))
    assert done.returncode == 0, done.stderr
    assert (compared / gitlab["artifacts"]["reports"]["junit"]).is_file()
    assert "The gate is passed." in done.stdout


def test_the_pytest_and_the_pre_commit_way(compared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(compared)
    (compared / "test_int8.py").write_text(block("pytest", "python"))
    done = job(compared, f'"{sys.executable}" -m pytest -q -p no:cacheprovider test_int8.py')
    assert done.returncode == 0, done.stdout
    hook = yaml.safe_load(block("pre-commit", "yaml"))["repos"][0]["hooks"][0]
    assert job(compared, hook["entry"]).returncode == 0
    assert re.search(hook["files"], "out/comparison.json")
    assert not re.search(hook["files"], "src/out.py")


def test_the_pages_rules_are_rules(tmp_path: Path) -> None:
    (tmp_path / "gates.toml").write_text(block("Rules", "toml"), encoding="utf-8")
    assert [rule.against for rule in load_config(tmp_path / "gates.toml").gate] == [
        None,
        "fp16",
        "baseline",
        "baseline",
        None,
    ]


def test_init_writes_rules_that_pass(compared: Path) -> None:
    done = job(compared, "quantkit gate out --init --gates first.toml")
    assert done.returncode == 0, done.stderr
    done = job(compared, done.stderr.partition("Judge with: ")[2])
    assert done.returncode == 0, done.stderr
    again = job(compared, "quantkit gate out --init --gates first.toml")
    assert (again.returncode, "there already" in again.stderr) == (2, True)
    assert job(compared, "quantkit gate out --init").stdout.startswith("# Rules for quantkit gate")


BASELINE = '[[gate]]\nmetric = "{}"\nagainst = "baseline"\n{}\n'
CASES = {
    "pass": (EASY, 0, ""),
    "fail": ('[[gate]]\nmetric = "speedup"\nmin = 1000\n', 1, "::error title=quantkit gate%3A speedup::"),
    "warn": ('[[gate]]\nmetric = "speedup"\nmin = 1000\nlevel = "warn"\n', 0, "::warning title="),
    "no match": ('[[gate]]\nmetric = "speedup"\nmin = 0\ntarget = "openvinno"\n', 5, "::error title="),
    "both": ('[[gate]]\nmetric = "speedup"\nmin = 1000\n[[gate]]\nmetric = "sped"\nmin = 0\n', 5, "::error title="),
    "same hardware": (BASELINE.format("latency_ms.p50", 'max_rise = "0 %"'), 0, ""),
    "other hardware": (BASELINE.format("latency_ms.p50", 'max_rise = "5 %"'), 0, "::warning title="),
    "other hardware, strict": (BASELINE.format("latency_ms.p50", "max_rise = 1\nstrict = true"), 5, "::error title="),
    "other hardware, accuracy": (BASELINE.format("agreement", "max_fall = 0.01"), 0, ""),
}


@pytest.mark.parametrize("name", CASES)
def test_every_case_in_an_emulated_job(compared: Path, name: str, tmp_path: Path) -> None:
    rules, code, annotation = CASES[name]
    (compared / "case.toml").write_text(rules)
    command, baseline = "quantkit gate out --gates case.toml --junit case.xml", compared / "out" / "comparison.json"
    if "baseline" in rules:
        document = json.loads(baseline.read_text())
        document["environment"]["cpu"] += " of another kind" if "other" in name else ""
        (compared / "before.json").write_text(json.dumps(document))
        command += " --baseline before.json"
    summary = tmp_path / "summary.md"
    done = job(compared, command, GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("::")]
    assert bool(lines) == bool(annotation)
    assert not lines or lines[0].startswith(annotation)
    assert summary.read_text(encoding="utf-8").startswith("**model.onnx: Ship**" if code == 0 else "**model.onnx: ")
    if "other hardware" in name and "accuracy" not in name:
        assert "of another kind" in done.stdout
    assert json.loads((compared / "out" / "gate.json").read_text())["exit_code"] == code
    assert summary.read_text(encoding="utf-8") == (compared / "out" / "summary.md").read_text(encoding="utf-8") + "\n"


def test_the_verdict_stays_in_whatever_is_made_of_the_run_later(compared: Path) -> None:
    """Though its rules came from options; and a step summary is written wherever its variable is set."""
    command = "quantkit gate out --min-speedup 1000 || quantkit report out --chart scatter.svg"
    done = job(compared, command, GITHUB_STEP_SUMMARY=str(compared / "step.md"))
    assert done.returncode == 0, done.stderr
    assert "::" not in done.stdout
    assert (compared / "step.md").read_text(encoding="utf-8").startswith("**model.onnx: Do not ship**")
    assert (compared / "out" / "summary.md").read_text(encoding="utf-8").startswith("**model.onnx: Do not ship**")
    comparison = load_comparison(compared / "out")
    assert repr(show(comparison)).startswith("**model.onnx: Do not ship**")
    assert "Do not ship: " in report(comparison, compared / "api.html").read_text(encoding="utf-8")
    (compared / "out" / "gate.json").write_text("{}")
    assert repr(show(comparison)).startswith("**model.onnx: No gate**")


def test_a_report_made_later_has_the_gates_own_baseline(compared: Path) -> None:
    """Which may be a file of any name, also beside another comparison.json."""
    rules = compared / "out" / "quantkit.toml"
    kept = rules.read_text(encoding="utf-8")
    rule = BASELINE.format("size_bytes", "max_rise = 0")
    rules.write_text(kept.replace("gate = []\n", "") + rule, encoding="utf-8")
    document = json.loads((compared / "out" / "comparison.json").read_text(encoding="utf-8"))
    for row in document["rows"]:
        row["size_bytes"] -= 1
    (compared / "out" / "main.json").write_text(json.dumps(document), encoding="utf-8")
    assert job(compared, "quantkit gate out --baseline out/main.json").returncode == 1
    before = (compared / "out" / "summary.md").read_text(encoding="utf-8")
    done = job(compared, "quantkit report out")
    rules.write_text(kept, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert before.startswith("**model.onnx: Do not ship**")
    assert (compared / "out" / "summary.md").read_text(encoding="utf-8") == before


def test_a_missing_baseline_is_said_and_its_rules_are_skipped(compared: Path) -> None:
    (compared / "case.toml").write_text(EASY + BASELINE.format("agreement", "max_fall = 0.01"))
    command = "quantkit gate out --gates case.toml --baseline none/yet"
    refused = job(compared, command)
    assert (refused.returncode, "none/yet" in refused.stderr) == (2, True)
    done = job(compared, f"{command} --baseline-optional --junit case.xml --force")
    assert done.returncode == 0, done.stderr
    assert "There is no baseline at none/yet: rules against it are skipped." in done.stderr
    assert "<skipped" in (compared / "case.xml").read_text()
    summary = (compared / "out" / "summary.md").read_text()
    assert "there is no baseline yet" in summary
    assert job(compared, "quantkit report out").returncode == 0  # which judges once more
    assert (compared / "out" / "summary.md").read_text() == summary
    (compared / "case.toml").write_text(EASY + BASELINE.format("agrement", "max_fall = 0.01"))
    assert job(compared, f"{command} --baseline-optional").returncode == 5


def test_with_json_stdout_is_one_document_in_a_job_too(compared: Path) -> None:
    (compared / "case.toml").write_text(CASES["fail"][0])
    done = job(compared, "quantkit gate out --gates case.toml --json", GITHUB_ACTIONS="true")
    assert json.loads(done.stdout)["exit_code"] == 1
    assert "::error title=" in done.stderr


def test_assert_gate_names_what_failed(compared: Path) -> None:
    (compared / "case.toml").write_text(CASES["fail"][0])
    with pytest.raises(AssertionError, match=r"fail: openvino int8.*: speedup ≥ 1000x, measured"):
        assert_gate(compared / "out", compared / "case.toml")
    (compared / "case.toml").write_text("")
    with pytest.raises(AssertionError, match="no gate rules"):
        assert_gate(load_comparison(compared / "out"), compared / "case.toml")
    assert assert_gate(compared / "out" / "comparison.json", compared / "gates.toml").passed
