"""Every verb's ``--json`` is one object that its published schema allows."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from quantkit.cli.documents import DOCUMENTS
from quantkit.demo.write import write_demo
from tests.conftest import Quantkit

jsonschema = pytest.importorskip("jsonschema")
ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "docs" / "schemas"
pytestmark = pytest.mark.skipif(not SCHEMAS.is_dir(), reason="the docs are not here")

FAST = ("--target", "onnxruntime", "--rounds", "1", "--seconds", "0.05")


def valid(name: str, text: str) -> Any:
    document = json.loads(text)
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)
    assert isinstance(document["schema_version"], int)
    return document


def test_the_published_schemas_are_what_the_code_says() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "make_schemas.py"))["schemas"]()
    assert made == {path.name: path.read_text(encoding="utf-8") for path in SCHEMAS.glob("*.json")}


def test_a_schema_refuses_what_is_none() -> None:
    for name in DOCUMENTS:
        schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
        for wrong in ({"schema_version": 1}, {"schema_version": 1, "unknown": 1}, []):
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(wrong, schema)


def test_every_verb(invoked: Quantkit, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def call(name: str, *words: object, code: int = 0) -> Any:
        done = invoked(*words, "--json", "-q")
        assert done.returncode == code, done.stderr
        seen[name] = valid(name, done.stdout)
        return seen[name]

    call("demo-write-only", "demo", "digits", "--write-only")
    model, images, held_out = "digits/model.onnx", "digits/imgs/calib", "digits/imgs/eval"
    call("init", "init", model, "--data", images, "-o", "q.toml")
    call("doctor", "doctor")
    call("check", "check", model, "--target", "onnxruntime")
    made = call("calibrate", "calibrate", model, "--data", images, "--samples", "10", "-o", "out")
    assert made["run"] == "out"
    for part in "12":
        shard = ("--shard", f"{part}/2", "-o", f"part-{part}", "--no-export")
        call("calibrate-shard", "calibrate", model, "--data", images, "--samples", "10", *shard)
    call("merge", "merge", "part-1", "part-2", "-o", "merged", "--no-export")
    exported = call("export", "export", "out", "--target", "onnxruntime")
    assert {artifact["target"] for artifact in exported["artifacts"]} == {"onnxruntime"}
    cache = "out/artifacts/tensorrt/int8/calibration.cache"
    call("convert", "convert", cache, "--to", "json", "--model", model, "-o", "imported")
    for run in ("out", "merged"):
        call("compare", "compare", run, "--data", held_out, "--samples", "20", *FAST)
    call("report", "report", "out")
    call("report-difference", "report", "out", "merged")
    call("history", "history", "out", "merged")
    call("gate", "gate", "out", "--min-agreement", "50")
    call("gate", "gate", "out", "--min-agreement", "50", "--baseline", "merged")
    call("sensitivity", "sensitivity", "out", "--target", "onnxruntime", "--samples", "5")
    tuning = ("--target", "onnxruntime", "--max-drop", "50", "--budget", "5s")
    tuned = call("tune", "tune", "out", "--data", held_out, "--samples", "60", *tuning)
    assert tuned["run"] == "out"
    assert Path(tuned["output"]).name == "out-tuned"
    call("inspect-model", "inspect", model)
    call("inspect-run", "inspect", "out")
    call("lint", "lint", "out/artifacts/tensorrt/int8/model.onnx")
    (tmp_path / "quick.toml").write_text(
        '[model]\npath = "digits/model.onnx"\n[compare]\ntargets = ["onnxruntime"]\nrounds = 1\nseconds = 0.05\n'
        "[data]\nsamples = 10\neval_samples = 20\n"
    )
    judged = call("run", "run", model, "--data", images, "--eval-data", held_out, "-c", "quick.toml", "-o", "whole")
    assert judged["passed"] is None
    assert seen.keys() == DOCUMENTS.keys() - {"error", "build", "demo"}  # build: tests/targets/tensorrt; demo is a run


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("inspect", "nothing.onnx"), 2),
        (("gate", "nothing"), 2),
        (("calibrate", "--unknown"), 2),
        (("compare", "model.onnx"), 2),
        (("nothing",), 2),
    ],
)
def test_an_error_is_a_document_too(invoked: Quantkit, tmp_path: Path, words: tuple[str, ...], code: int) -> None:
    write_demo(tmp_path / "digits")
    done = invoked(*words, "--json")
    found = valid("error", done.stdout)["error"]
    assert found["exit_code"] == done.returncode == code
    assert found["what"] in done.stderr
    assert found["hint"]
