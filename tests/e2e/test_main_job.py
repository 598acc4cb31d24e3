"""The main job on real files, as a user types it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.formats.tensorrt_cache import parse_cache
from tests.conftest import Quantkit, tiny_model, write_images


def snapshot(*roots: Path) -> dict[Path, tuple[bytes, int]]:
    files = [file for root in roots for file in ([root] if root.is_file() else sorted(root.rglob("*")))]
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files if file.is_file()}


def test_calibrate_compare_report_gate(quantkit: Quantkit, model_path: Path, images: Path, tmp_path: Path) -> None:
    before = snapshot(model_path, images)
    done = quantkit("calibrate", model_path, "--data", images, "-o", "out")
    assert done.returncode == 0, done.stderr
    assert "10 tensors calibrated on 18 samples by mse" in done.stdout
    assert "Preprocessing: RGB, bilinear resize to 16x16" in done.stderr
    assert "all are taken, where up to 300 would be" in done.stderr
    out = tmp_path / "out"
    header, amax = parse_cache((out / "artifacts/tensorrt/int8/calibration.cache").read_text(), "cache")
    assert header == "TRT-8600-EntropyCalibration2"
    tensors = json.loads((out / "calibration.json").read_text())["tensors"]
    assert {name: pytest.approx(value, rel=1e-6) for name, value in amax.items()} == {
        name: tensor["amax"] for name, tensor in tensors.items()
    }
    for file in ("onnxruntime/int8/model.onnx", "tensorrt/int8/model.onnx"):
        onnx.checker.check_model(str(out / "artifacts" / file))

    compared = quantkit("compare", "out", "--data", images, "--target", "onnxruntime", "--seconds", 0.3, "--json")
    assert compared.returncode == 0, compared.stderr
    document = json.loads(compared.stdout)
    recommended = document["recommendation"]["overall"]
    assert document == json.loads((out / "comparison.json").read_text())
    assert (out / recommended["path"]).is_file()
    assert recommended["sentence"].endswith(".")
    assert [(row["target"], row["precision"]) for row in document["rows"]] == [
        ("onnxruntime", "fp32"),
        ("onnxruntime", "fp16"),
        ("onnxruntime", "int8"),
    ]
    fp32, _, int8 = document["rows"]
    assert (fp32["agreement"], fp32["sqnr_db"], fp32["speedup"], fp32["drop"]["top1"]) == (1, None, 1, 0)
    assert int8["executed_precision"] == "int8 2, f32 1"  # the last layer has three columns
    assert int8["sqnr_db"] > 20
    assert set(int8["latency_ms"]) == {"p10", "p50", "p90", "p99", "p50_low", "p50_high"}
    top1 = int8["metrics"]["top1"]
    assert 0 <= top1["low"] <= top1["value"] <= top1["high"] <= 1
    assert int8["drop"]["top1"] == pytest.approx(fp32["metrics"]["top1"]["value"] - top1["value"])

    report = (out / "report.html").read_text()
    assert report.count("<html") == 1
    assert "relu1" in report
    assert "Recommended:" in report
    assert "**Recommended**: " in (out / "summary.md").read_text()
    assert (out / "summary.md").read_text().count("\n") < 60

    passed = quantkit("gate", "out", "--min-agreement", "50", "--junit", "junit.xml")
    assert passed.returncode == 0, passed.stderr
    assert ET.parse(tmp_path / "junit.xml").getroot() is not None
    failed = quantkit("gate", "out", "--min-speedup", "1000")
    assert failed.returncode == 1
    assert "1000x" in failed.stdout
    assert "onnxruntime int8" in failed.stderr
    assert quantkit("gate", "out").returncode == 5
    assert snapshot(model_path, images) == before


def test_solving_anew_reads_no_image(invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path) -> None:
    assert invoked("calibrate", model_path, "--data", images, "-o", "out", "--no-export").returncode == 0
    first = json.loads((tmp_path / "out" / "calibration.json").read_text())
    images.rename(tmp_path / "gone")
    again = invoked("calibrate", "--method", "minmax", "-o", "out", "--json")
    assert again.returncode == 0, again.stderr
    document = json.loads(again.stdout)
    assert document["method"] == "minmax"
    assert document["tensors"]["logits"]["amax"] == first["tensors"]["logits"]["candidates"]["minmax"]["amax"]


def test_run_does_all_of_it_from_a_file(quantkit: Quantkit, model_path: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "quantkit.toml").write_text(
        '[model]\npath = "tiny.onnx"\n[data]\ncalibration = "imgs"\nevaluation = "imgs"\n'
        '[compare]\ntargets = ["onnxruntime"]\nprecisions = ["int8"]\nseconds = 0.3\n'
        '[[gate]]\nmetric = "agreement"\nmin = 0.5\n'
    )
    done = quantkit("run")
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    names = {
        "manifest.json",
        "quantkit.toml",
        "calibration.json",
        "histograms.npz",
        "moments.npz",
        "statistics.npz",
        "sample.npz",
        "artifacts",
    }
    names |= {
        "quantkit.log",
        "comparison.json",
        "predictions.npz",
        "report.html",
        "summary.md",
        "junit.xml",
        "gate.json",
    }
    assert {path.name for path in run.iterdir()} == names
    # RUN left out is the newest under runs/, and its own rules are the gate's default.
    assert quantkit("gate").returncode == 0
    assert quantkit("report").returncode == 0
    assert json.loads(quantkit("inspect", "--json").stdout)["samples"] == 18
    strict = quantkit("gate", "--min-agreement", "100.0", "--json")
    assert json.loads(strict.stdout)["rules"][0]["min"] == 1.0
    (tmp_path / "quantkit.toml").write_text((tmp_path / "quantkit.toml").read_text().replace("agreement", "agreemint"))
    assert quantkit("run").returncode == 5


def test_options_go_before_environment_before_file(invoked: Quantkit, tmp_path: Path, model_path: Path) -> None:
    (tmp_path / "quantkit.toml").write_text('[data]\nsamples = 5\nseed = 1\n[calibrate]\nmethod = "minmax"\n')
    shown = invoked("calibrate", "--samples", "9", "--dump-config", QUANTKIT_SAMPLES="7", QUANTKIT_METHOD="entropy")
    assert shown.returncode == 0, shown.stderr
    for line in ("samples = 9", 'method = "entropy"', "seed = 1", f'path = "{model_path}"'):
        assert line in shown.stdout


def test_fixed_batches_dynamic_sizes_and_external_weights(invoked: Quantkit, images: Path, tmp_path: Path) -> None:
    external = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    onnx.save(tiny_model(batch=4, opset=11), tmp_path / "fixed.onnx", **external)
    onnx.save(tiny_model(size="S"), tmp_path / "dynamic.onnx")
    (tmp_path / "quantkit.toml").write_text("[preprocess]\nsize = [16, 16]\n")  # 224 x 224 would take its time
    for name in ("fixed", "dynamic"):
        done = invoked("calibrate", f"{name}.onnx", "--data", images, "-o", name, "--seed", "3")
        assert done.returncode == 0, done.stderr
        compared = invoked("compare", name, "--data", images, "--precision", "int8", "--json")
        assert compared.returncode == 0, compared.stderr
        document = json.loads(compared.stdout)
        assert document["samples"] == 18
        assert {row["batch"] for row in document["rows"]} == {4 if name == "fixed" else 1}
        assert all(row["agreement"] > 0.7 for row in document["rows"])


def test_an_unlabelled_folder_compares_by_agreement(invoked: Quantkit, model_path: Path, images: Path) -> None:
    invoked("calibrate", model_path, "--data", images / "red", "-o", "out", "--no-export")
    done = invoked("compare", "out", "--data", images / "red", "--target", "onnxruntime", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["labelled"] == 0
    assert all(not row["metrics"] and not row["drop"] and row["agreement"] > 0 for row in document["rows"])


def test_warnings_do_not_fail(invoked: Quantkit, model_path: Path, tmp_path: Path) -> None:
    images = write_images(tmp_path / "many", per_class=20)
    (images / "red" / "0.png").write_text("no image")
    done = invoked("calibrate", model_path, "--data", images, "-o", "out", "--samples", "60", "--no-export")
    assert done.returncode == 0, done.stderr
    assert "1 of 60 images could not be read and were skipped: red/0.png (not an image)" in done.stderr
    assert json.loads((tmp_path / "out" / "calibration.json").read_text())["data"]["skipped"] == {
        "red/0.png": "not an image"
    }


@pytest.mark.openvino
def test_a_target_that_cannot_run_the_model_is_left_out_unless_asked_for(
    invoked: Quantkit, images: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    model = tiny_model()
    model.graph.node.append(
        onnx.helper.make_node("Inverse", ["relu1"], ["inverse"], name="inverse", domain="com.microsoft")
    )
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info("inverse"))
    onnx.save(model, tmp_path / "odd.onnx")
    done = invoked("calibrate", "odd.onnx", "--data", images, "-o", "out", "--method", "minmax", "--exclude", "inverse")
    assert done.returncode == 0, done.stderr
    assert "Warning: No fp32, fp16, int8 for openvino: OpenVINO has no operator for" in done.stderr
    compared = invoked("compare", "out", "--data", images, "--json")
    assert compared.returncode == 0, compared.stderr
    assert {row["target"] for row in json.loads(compared.stdout)["rows"]} == {"onnxruntime"}
    asked = invoked("compare", "out", "--data", images, "--target", "openvino")
    assert asked.returncode == 2
    assert "odd.onnx" in asked.stderr


def test_hostile_names_pass_through(invoked: Quantkit, tmp_path: Path) -> None:
    model = tiny_model()
    hostile = "</script><script>alert(1)</script> [bold]: $(x)"
    for node in model.graph.node:
        node.input[:] = [hostile if name == "relu1" else name for name in node.input]
        node.output[:] = [hostile if name == "relu1" else name for name in node.output]
    onnx.save(model, tmp_path / "m.onnx")
    images = write_images(tmp_path / "imgs")
    (images / "red").rename(images / "<img src=x onerror=alert(1)>")
    (images / "blue" / "0.png").rename(images / "blue" / "[red]a\nb.png")
    done = invoked("calibrate", "m.onnx", "--data", images, "-o", "out [x]")
    assert done.returncode == 0, done.stderr
    compared = invoked("compare", "out [x]", "--data", images, "--target", "onnxruntime")
    assert compared.returncode == 0, compared.stderr
    assert hostile in json.loads((tmp_path / "out [x]" / "calibration.json").read_text())["tensors"]
    assert "<script>alert" not in (tmp_path / "out [x]" / "report.html").read_text()
    shown = invoked("inspect", "out [x]")
    assert hostile in shown.stdout


def test_chance_accuracy_is_doubted(invoked: Quantkit, model_path: Path, images: Path, tmp_path: Path) -> None:
    classes = tmp_path / "classes.txt"
    classes.write_text("red\nblue\ngreen\n")
    invoked("calibrate", model_path, "--data", images, "-o", "out", "--no-export")
    done = invoked("compare", "out", "--data", images, "--target", "onnxruntime", "--precision", "int8")
    assert done.returncode == 0
    assert "probably wrong" in done.stderr  # the tiny model is not trained


def test_python_api_of_the_readme(model_path: Path, images: Path, tmp_path: Path) -> None:
    import quantkit as qk

    calibration = qk.calibrate(model_path, data=images)
    files: Sequence[qk.core.artifact.Artifact] = qk.export(calibration, target="tensorrt", output=tmp_path / "out")
    written = {"model.onnx", "strongly_typed.onnx", "calibration.cache", "dynamic_ranges.txt"}
    assert {file.name for file in files[0].files} == written
    comparison = qk.compare(calibration, data=images, targets=["onnxruntime"], precisions=["fp32", "int8"])
    qk.report(comparison, tmp_path / "report.html", calibration=calibration)
    assert "relu1" in (tmp_path / "report.html").read_text()
    rules = tmp_path / "quantkit.toml"
    rules.write_text('[[gate]]\nmetric = "agreement"\nmin = 0.5\n')
    qk.gate(comparison, rules).raise_for_failure()
    with pytest.raises(qk.GateFailed):
        qk.gate(comparison, [qk.Rule(metric="speedup", min=1000)]).raise_for_failure()


def test_several_inputs_and_outputs_from_an_npz(invoked: Quantkit, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "table": rng.standard_normal((20, 32)).astype(np.float32),
        "w": rng.standard_normal((32, 32)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["embedded"], name="gather"),
        helper.make_node("ReduceMean", ["embedded"], ["mean"], name="mean", axes=[1], keepdims=0),
        helper.make_node("Add", ["mean", "dense"], ["sum"], name="sum"),
        helper.make_node("MatMul", ["sum", "w"], ["product"], name="product"),
        helper.make_node("Softmax", ["product"], ["probabilities"], name="softmax"),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 3]),
            helper.make_tensor_value_info("dense", TensorProto.FLOAT, ["N", 32]),
        ],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 32]),
            helper.make_tensor_value_info("product", TensorProto.FLOAT, ["N", 32]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    np.savez(
        tmp_path / "x.npz",
        ids=rng.integers(0, 20, (150, 3)),
        dense=rng.standard_normal((150, 32)).astype(np.float32),
        labels=rng.integers(0, 32, 150),
    )
    done = invoked("calibrate", "m.onnx", "--data", "x.npz", "-o", "out")
    assert done.returncode == 0, done.stderr
    tensors = json.loads((tmp_path / "out" / "calibration.json").read_text())["tensors"]
    assert list(tensors) == ["dense", "embedded", "mean", "sum", "product", "probabilities"]
    compared = invoked("compare", "out", "--data", "x.npz", "--json")
    assert compared.returncode == 0, compared.stderr
    for row in json.loads(compared.stdout)["rows"]:
        assert row["agreement"] > 0.9
        assert row["sqnr_db"] is None or row["sqnr_db"] > 20
        assert ("int8" in row["executed_precision"]) == (row["precision"] == "int8")
