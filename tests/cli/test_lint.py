"""``quantkit lint``: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from quantkit import calibrate
from quantkit.graph.model_file import open_model
from quantkit.targets.onnxruntime.qdq import quantized_for_onnxruntime
from quantkit.targets.tensorrt.qdq.dialect import quantized_for_tensorrt
from tests.conftest import Quantkit, tiny_model
from tests.graphs.lint.builder import Builder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``fine.onnx`` for TensorRT, ``slow.onnx`` with a warning, and ``ort.onnx`` for ONNX Runtime."""
    onnx.save(tiny_model(), tmp_path / "tiny.onnx")
    model = open_model(tmp_path / "tiny.onnx")
    images = np.random.default_rng(0).standard_normal((8, 3, 16, 16)).astype(np.float32)
    ranges = calibrate(tmp_path / "tiny.onnx", images, method="minmax").ranges
    fine = quantized_for_tensorrt(model, ranges).proto
    onnx.save(fine, tmp_path / "fine.onnx")
    onnx.save(quantized_for_onnxruntime(model, ranges).proto, tmp_path / "ort.onnx")
    skip = next(node for node in fine.graph.node if node.name == "add")
    skip.input[1] = "relu1"
    onnx.save(fine, tmp_path / "slow.onnx")
    return tmp_path


def test_errors_are_listed_by_rule_and_exit_1(invoked: Quantkit, folder: Path) -> None:
    shown = invoked("lint", "ort.onnx")
    assert shown.returncode == 1
    assert "error: zero-point-not-zero (" in shown.stdout
    assert "  Hint: Quantize symmetrically" in shown.stdout
    assert "Add 'add'" in shown.stdout
    last = shown.stdout.splitlines()[-1]
    document = json.loads(invoked("lint", folder / "ort.onnx", "--json").stdout)
    assert last == f"{document['errors']} errors, {document['warnings']} warning" + "s" * (document["warnings"] != 1)
    everything = invoked("lint", "ort.onnx", "-v")
    for finding in document["findings"]:
        assert finding["what"] in everything.stdout
        assert finding["severity"] in ("error", "warning", "note")
        assert finding["nodes"][0] in everything.stdout
    assert sum(f["severity"] == "error" for f in document["findings"]) == document["errors"] > 0


def test_long_lists_are_cut_short(invoked: Quantkit, tmp_path: Path) -> None:
    graph = Builder()
    x = graph.pair("x")
    graph.outputs += [graph.conv(x, f"out{number}", outputs=8) for number in range(12)]
    onnx.save(graph.model(), tmp_path / "m.onnx")
    shown = invoked("lint", "m.onnx").stdout
    assert "note: few-channels (12)" in shown
    assert "out7" in shown
    assert "out8" not in shown
    assert "... and 4 more (-v)" in shown
    assert "out11" in invoked("lint", "m.onnx", "-v").stdout


def test_warnings_alone_exit_0(invoked: Quantkit, folder: Path) -> None:
    shown = invoked("lint", "slow.onnx")
    assert shown.returncode == 0
    assert "warning: skip-without-pair (1)" in shown.stdout
    assert shown.stdout.splitlines()[-1] == "0 errors, 1 warning"


def test_nothing_to_say(invoked: Quantkit, folder: Path) -> None:
    shown = invoked("lint", "fine.onnx")
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[-1] == "No pair breaks a TensorRT rule"
    document = json.loads(invoked("lint", "fine.onnx", "--json").stdout)
    assert (document["errors"], document["warnings"]) == (0, 0)


def test_sarif_is_what_code_scanning_reads(invoked: Quantkit, folder: Path) -> None:
    shown = invoked("lint", "ort.onnx", folder / "slow.onnx", "--format", "sarif")
    assert shown.returncode == 1
    log = json.loads(shown.stdout)
    assert (log["version"], log["$schema"].endswith("sarif-2.1.0.json")) == ("2.1.0", True)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["shortDescription"]["text"]
        assert rule["help"]["text"]
    documents = {name: json.loads(invoked("lint", name, "--json").stdout) for name in ("ort.onnx", "slow.onnx")}
    wanted = [(name, f["rule"], f["severity"]) for name, own in documents.items() for f in own["findings"]]
    found = []
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["region"]["startLine"] == 1
        assert location["logicalLocations"][0]["name"]
        found.append((location["physicalLocation"]["artifactLocation"]["uri"], result["ruleId"], result["level"]))
    assert found == wanted  # by relative URIs
    prints = [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]
    assert len({(uri, print_) for (uri, _, _), print_ in zip(found, prints, strict=True)}) == len(found)


def test_github_gets_an_annotation_for_each_finding(invoked: Quantkit, folder: Path) -> None:
    shown = invoked("lint", "slow.onnx", "ort.onnx", "--format", "github")
    assert shown.returncode == 1
    lines = shown.stdout.splitlines()
    first = "::warning file=slow.onnx,title=quantkit lint%3A skip-without-pair::"
    assert lines[0].startswith(first)
    documents = [json.loads(invoked("lint", name, "--json").stdout) for name in ("slow.onnx", "ort.onnx")]
    assert len(lines) == sum(len(document["findings"]) for document in documents)
    assert all(line.startswith(("::error file=", "::warning file=", "::notice file=")) for line in lines)


def test_several_models_are_named(invoked: Quantkit, folder: Path) -> None:
    shown = invoked("lint", "fine.onnx", "slow.onnx")
    assert shown.returncode == 0
    assert "fine.onnx: No pair breaks a TensorRT rule" in shown.stdout
    assert shown.stdout.splitlines()[-1] == "slow.onnx: 0 errors, 1 warning"
    refused = invoked("lint", "fine.onnx", "slow.onnx", "--json")
    assert refused.returncode == 2


def test_bad_input_exits_2(invoked: Quantkit, folder: Path) -> None:
    (folder / "text.onnx").write_text("hello")
    (folder / "cut.onnx").write_bytes((folder / "ort.onnx").read_bytes()[:-500])
    damaged = onnx.load(folder / "ort.onnx")
    scale = next(t for t in damaged.graph.initializer if t.name == "input_scale")
    scale.CopyFrom(numpy_helper.from_array(np.ones(2, np.float32), "input_scale"))
    scale.raw_data = scale.raw_data[:3]
    onnx.save(damaged, folder / "damaged.onnx")
    for name in ("none.onnx", "text.onnx", "cut.onnx", "damaged.onnx", "tiny.onnx", "."):
        shown = invoked("lint", name)
        assert shown.returncode == 2, name
        assert shown.stdout == ""
        assert shown.stderr.startswith("Error: ")
        assert name in shown.stderr
        assert "Traceback" not in shown.stderr
    assert "holds no QuantizeLinear" in invoked("lint", "tiny.onnx").stderr


def test_the_help_states_the_exit_codes(invoked: Quantkit) -> None:
    shown = " ".join(invoked("lint", "--help", COLUMNS="300").stdout.split())
    for code in ("Exit 0", "1:", "2:"):
        assert code in shown
