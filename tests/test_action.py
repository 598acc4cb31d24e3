"""action.yml, run: its steps with bash on the demo, with inputs as the runner gives them; and the pre-commit hook."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quantkit.demo.write import write_demo

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).resolve().parents[1]
pytestmark = [
    pytest.mark.skipif(not (ROOT / "action.yml").is_file(), reason="the sources are not here"),
    pytest.mark.slow,
]
INPUTS = {
    "model": "model.onnx",
    "data": "imgs/calib",
    "eval-data": "imgs/eval",
    "gates": "quantkit.toml",
    "package": "none",
    "python": "none",
}


def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's folder, and quantkit and a pip that only says what it was asked for on the PATH."""
    folder = tmp_path_factory.mktemp("action") / "a project"
    write_demo(folder)
    with (folder / "quantkit.toml").open("a") as file:  # measured briefly
        file.write('[compare]\ntargets = ["onnxruntime"]\nseconds = 0.3\n')
    tools = folder / "tools"
    tools.mkdir()
    (tools / "quantkit").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m quantkit "$@"\n')
    (tools / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@" >asked.txt\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    return folder


def resolved(text: str, values: dict[str, str]) -> str:
    """The text of a variable, with expressions such as ``${{ inputs.model }}``."""
    return re.sub(r"\$\{\{ (.+?) \}\}", lambda found: values[found[1]], text)


def run_action(project: Path, first: str = "", **given: str) -> tuple[int, str, dict[str, str]]:
    """The steps from ``first`` on as a runner does them: status of the first that fails, what was said, outputs."""
    own = action()
    values = {"github.action_path": str(ROOT)}
    values |= {f"inputs.{name}": spec.get("default", "") for name, spec in own["inputs"].items()}
    values |= {f"inputs.{name.replace('_', '-')}": text for name, text in (INPUTS | given).items()}
    (project / "outputs").write_text("")
    (project / "step.md").write_text("")
    said, status = "", 0
    names = [step["name"] for step in own["runs"]["steps"]]
    for step in own["runs"]["steps"][names.index(first) if first else 0 :]:
        condition = re.fullmatch(r"(inputs\.\w+) != '(\w+)'", step.get("if", ""))
        if "run" not in step or (condition and values[condition[1]] == condition[2]):
            continue
        clean = {name: text for name, text in os.environ.items() if not name.startswith(("GITHUB_", "QUANTKIT_"))}
        env = clean | {name: resolved(text, values) for name, text in step["env"].items()}
        env |= {
            "PATH": f"{project / 'tools'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "QUANTKIT_SAMPLES": "50",
            "QUANTKIT_EVAL_SAMPLES": "100",
            "GITHUB_ACTIONS": "true",
            "GITHUB_OUTPUT": str(project / "outputs"),
            "GITHUB_STEP_SUMMARY": str(project / "step.md"),
        }
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
        done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=300)
        said, status = said + done.stdout + done.stderr, done.returncode
        if status:
            break
    outputs = dict(line.split("=", 1) for line in (project / "outputs").read_text().splitlines())
    return status, said, outputs


def test_no_input_becomes_text_of_a_script() -> None:
    own = action()
    for step in own["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        assert "run" not in step or step["shell"] == "bash"
    used = set(re.findall(r"inputs\.([\w-]+)", (ROOT / "action.yml").read_text(encoding="utf-8")))
    assert used == set(own["inputs"])
    assert all(spec["description"] for spec in own["inputs"].values())


def test_its_steps_judge_the_demo_and_fail_where_a_rule_does(project: Path) -> None:
    status, said, outputs = run_action(project, baseline="main/comparison.json")
    assert status == 0, said
    assert outputs == {
        "exit-code": "0",
        "report": "quantkit-run/report.html",
        "junit": "quantkit-run/junit.xml",
    }
    assert (project / outputs["report"]).is_file()
    assert (project / outputs["junit"]).is_file()
    assert (project / "step.md").read_text(encoding="utf-8").startswith("**model.onnx: Ship**")

    (project / "strict rules.toml").write_text('[[gate]]\nmetric = "agreement"\nmin = 1\nstatistic = "pessimistic"\n')
    status, said, outputs = run_action(project, "Gate", gates="strict rules.toml")
    assert (status, outputs["exit-code"]) == (1, "1")
    assert "::error title=quantkit gate%3A agreement::" in said
    assert (project / "step.md").read_text(encoding="utf-8").startswith("**model.onnx: Do not ship**")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "none.onnx"),
        ("data", "none"),
        ("eval_data", ""),
        ("gates", "none.toml"),
        ("output", ""),
        ("extras", "openvino]; touch pwned; ["),
        ("python", "2.7"),
        ("model", '$(touch pwned)"; touch pwned; "'),
    ],
)
def test_a_wrong_input_is_named(project: Path, name: str, value: str) -> None:
    status, said, _ = run_action(project, **{name: value})
    assert status == 2
    assert said.startswith(f"::error title=quantkit::The input {name.replace('_', '-')} ")
    assert not (project / "pwned").exists()


@pytest.mark.parametrize(
    ("package", "extras", "asked"),
    [
        ("", "openvino", f"{ROOT}[openvino]"),
        ("", "", str(ROOT)),
        ("quantkit-int8[openvino]==0.2.0", "detection", "quantkit-int8[openvino]==0.2.0"),
        ("some wheel.whl", "", "some wheel.whl"),
    ],
)
def test_it_installs_the_release_that_it_belongs_to_or_what_is_given(
    project: Path, package: str, extras: str, asked: str
) -> None:
    (step,) = [step for step in action()["runs"]["steps"] if step["name"] == "Install quantkit"]
    values = {"github.action_path": str(ROOT), "inputs.package": package, "inputs.extras": extras}
    env = os.environ | {name: resolved(text, values) for name, text in step["env"].items()}
    env["PATH"] = f"{project / 'tools'}{os.pathsep}{env['PATH']}"
    subprocess.run(["bash", "-eo", "pipefail", "-c", step["run"]], cwd=project, env=env, check=True)
    assert (project / "asked.txt").read_text().splitlines()[-1] == asked


def test_the_pre_commit_hook_lints_what_it_is_for(project: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert re.search(hook["files"], "out/artifacts/tensorrt/int8/model.onnx")
    assert not re.search(hook["files"], "model.onnx")
    assert not re.search(hook["files"], "int8/model.onnx.data")
    files = ["quantkit-run/artifacts/tensorrt/int8/model.onnx", "quantkit-run/artifacts/onnxruntime/int8/model.onnx"]
    command = [sys.executable, "-m", *shlex.split(hook["entry"]), *files]
    done = subprocess.run(
        command, cwd=project, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 1  # UINT8, for ONNX Runtime
    assert f"{files[0]}: " in done.stdout
