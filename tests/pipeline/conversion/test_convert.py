"""quantkit convert: every form into every other, on real files, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime import InferenceSession
from onnxruntime.quantization import calibrate as ort
from onnxruntime.quantization import quantize_static

from quantkit.core.errors import BadInput
from quantkit.formats.tensorrt_cache import parse_cache, text_with_header
from quantkit.graph.float_tensors import float_tensors
from quantkit.pipeline.conversion import read as read_ranges
from quantkit.pipeline.conversion.stage import FORMS, convert
from quantkit.pipeline.run_files import load_calibration
from tests.conftest import Quantkit, tiny_model
from tests.golden.cases import digits, mixed

GOLDEN = Path(__file__).parents[2] / "golden"
OWN = "(Unnamed Layer* 35) [Constant]_output"
NAMES = float_tensors(tiny_model())
Scales = dict[str, float]


def amax_of(path: Path) -> dict[str, float]:
    return parse_cache(path.read_text(encoding="utf-8"), path.name)[1]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of the tiny model, as TensorRT 8.6.1 would have written it."""
    path = tmp_path / "tiny.cache"
    amax = {name: 1.5 + position / 3 for position, name in enumerate(NAMES)} | {OWN: 0.5}
    path.write_text(text_with_header(amax, "TRT-8601-EntropyCalibration2"), encoding="utf-8")
    return path


@pytest.fixture
def digits_model(tmp_path: Path) -> Path:
    (tmp_path / "digits.onnx").write_bytes(digits()[0])
    return tmp_path / "digits.onnx"


def made(form: str, source: Path, model: Path, folder: Path) -> Path:
    output = folder / {"json": "run", "qdq": "q.onnx"}.get(form, form)
    convert(source, form, model, output)
    return output


@pytest.mark.parametrize(("start", "end"), list(product(FORMS, FORMS)))
def test_every_form_into_every_other(start: str, end: str, cache: Path, model_path: Path, tmp_path: Path) -> None:
    first = made(start, cache, model_path, tmp_path)
    (tmp_path / "second").mkdir()
    second = made(end, first, model_path, tmp_path / "second")
    back = tmp_path / "back.cache"
    done = convert(second, "cache", model_path, back, "8.6.1")
    theirs, ours = amax_of(cache), amax_of(back)
    assert {"input", "relu1"} <= set(ours) <= set(theirs)
    assert done.match is not None
    assert not done.match.foreign
    # What only exists inside a fused kernel has the range of another tensor, where a Q/DQ model lacks its own.
    measured = set(done.imported.ranges) & set(convert(first, "ranges", model_path).imported.ranges)
    for name in measured:
        # TensorsData holds amax in float32, twice at most: the scale may differ in its last bits.
        assert ours[name] == pytest.approx(theirs[name], rel=2.0**-22), name
    if "tensors-data" not in (start, end):
        assert all(ours[name] == theirs[name] for name in measured)


@pytest.mark.parametrize("case", ["digits", "mixed"])
@pytest.mark.parametrize("method", ["entropy2", "minmax"])
def test_a_cache_of_tensorrt_becomes_a_model_that_runs(case: str, method: str, tmp_path: Path) -> None:
    data, inputs = (digits if case == "digits" else mixed)()
    (tmp_path / "m.onnx").write_bytes(data)
    done = convert(GOLDEN / f"{case}.{method}.cache", "qdq", tmp_path / "m.onnx", tmp_path / "q.onnx")
    assert done.match is not None
    assert not done.match.missing
    assert not done.match.foreign
    assert done.match.parsers_own
    quantized = InferenceSession(tmp_path / "q.onnx", providers=["CPUExecutionProvider"])
    original = InferenceSession(data, providers=["CPUExecutionProvider"])
    name = original.get_inputs()[0].name
    ours, theirs = (
        np.concatenate([s.run(None, {name: inputs[i : i + 1]})[0] for i in range(20)]) for s in (quantized, original)
    )
    assert 10 * np.log10((theirs**2).sum() / ((ours - theirs) ** 2).sum()) > 15  # dB


def test_a_run_made_of_a_cache_is_exported_to_all_targets(
    invoked: Quantkit, tmp_path: Path, digits_model: Path
) -> None:
    source = GOLDEN / "digits.entropy2.cache"
    done = invoked("convert", source, "--model", digits_model, "--to", "json", "-o", "run")
    assert done.returncode == 0, done.stderr
    assert "holds only amax" in done.stderr
    exported = invoked("export", "run", "--target", "onnxruntime", "--target", "tensorrt", "--tensorrt", "8.6.0")
    assert exported.returncode == 0, exported.stderr
    written = amax_of(tmp_path / "run/artifacts/tensorrt/int8/calibration.cache")
    assert written == {name: amax for name, amax in amax_of(source).items() if "Unnamed" not in name}
    calibration = load_calibration(tmp_path / "run")
    assert calibration.method == "imported"
    assert calibration.samples == 0
    assert calibration.data.path == str(source)
    assert "digits.entropy2.cache" in calibration.warnings[0]
    assert calibration.ranges["input"].low == -calibration.ranges["input"].amax
    assert calibration.ranges["/relu/Relu_output_0"].low == 0
    assert calibration.ranges["/stem/Conv_output_0"].low < 0
    session = InferenceSession(
        tmp_path / "run/artifacts/onnxruntime/int8/model.onnx", providers=["CPUExecutionProvider"]
    )
    assert session.run(None, {session.get_inputs()[0].name: digits()[1][:1]})[0].shape == (1, 10)
    again = invoked("convert", GOLDEN / "digits.minmax.cache", "--model", digits_model, "--to", "json", "-o", "run")
    assert again.returncode == 0, again.stderr
    assert not (tmp_path / "run/artifacts/tensorrt/int8/model.onnx").exists(), "made of ranges that are gone"


def test_what_is_in_the_folder_already_stays(invoked: Quantkit, model_path: Path, cache: Path, tmp_path: Path) -> None:
    """Somebody's manifest.json makes no run of a folder; and an interrupted calibration is hours of work."""
    for name, inside in (("web", "manifest.json"), ("partial", ".partial/progress.json")):
        file = tmp_path / name / inside
        file.parent.mkdir(parents=True)
        file.write_text('{"name": "app"}')
        (tmp_path / name / "report.html").write_text("mine")
        done = invoked("convert", cache, "--model", model_path, "--to", "json", "-o", name)
        assert done.returncode == 2, done.stderr
        assert file.read_text() == '{"name": "app"}'
        assert (tmp_path / name / "report.html").read_text() == "mine"


def test_a_measured_calibration_is_not_replaced(
    invoked: Quantkit, model_path: Path, images: Path, cache: Path, tmp_path: Path
) -> None:
    assert invoked("calibrate", model_path, "--data", images, "-o", "out", "--no-export").returncode == 0
    before = (tmp_path / "out/calibration.json").read_bytes()
    done = invoked("convert", cache, "--model", model_path, "--to", "json", "-o", "out")
    assert done.returncode == 2
    assert "was measured" in done.stderr
    assert (tmp_path / "out/calibration.json").read_bytes() == before
    assert invoked("convert", "out", "--to", "cache", "-o", "o.cache").returncode == 0
    tensors = load_calibration(tmp_path / "out").tensors
    written = amax_of(tmp_path / "o.cache")
    assert {n: np.float32(a / 127) for n, a in written.items()} == {
        n: np.float32(t.amax / 127) for n, t in tensors.items()
    }
    assert invoked("convert", "out", "--model", model_path, "--to", "json", "-o", "two").returncode == 0
    again = load_calibration(tmp_path / "two")
    assert again.ranges == load_calibration(tmp_path / "out").ranges
    assert again.preprocess == load_calibration(tmp_path / "out").preprocess


def test_a_cache_is_headed_anew_and_otherwise_as_it_was(invoked: Quantkit, cache: Path, tmp_path: Path) -> None:
    lines = cache.read_text(encoding="utf-8").splitlines()
    done = invoked("convert", cache, "--to", "cache", "--tensorrt", "10.3")
    assert done.stdout.splitlines() == ["TRT-100300-EntropyCalibration2", *lines[1:]]
    assert not done.stdout.endswith("\n\n")
    done = invoked("convert", cache, "--to", "cache", "--algorithm", "minmax", "-o", "-")
    assert done.stdout.splitlines() == ["TRT-8601-MinMaxCalibration", *lines[1:]]
    done = invoked("convert", cache, "--to", "cache", QUANTKIT_TENSORRT="10.1")
    assert done.stdout.splitlines()[0] == "TRT-100100-EntropyCalibration2"
    assert invoked("convert", cache, "--to", "cache", "-q").stderr == ""
    assert "the form ranges leaves them out" in invoked("convert", cache, "--to", "ranges", "--tensorrt", "10.3").stderr


def test_what_only_one_side_has_is_listed(invoked: Quantkit, cache: Path, model_path: Path) -> None:
    text = cache.read_text(encoding="utf-8").replace("conv1: ", "elsewhere: ").replace("add: ", "onnx::add: ")
    cache.write_text(text, encoding="utf-8")
    done = invoked("convert", cache, "--model", model_path, "--to", "ranges", "-o", "r.txt", "--json")
    document = json.loads(done.stdout)
    assert document["form"] == "TensorRT calibration cache"
    assert document["header"] == "TRT-8601-EntropyCalibration2"
    assert document["ranges"] == 13
    assert document["model"] == {
        "tensors": 10,
        "missing": [],
        "fused": ["conv1", "add"],
        "parsers_own": [OWN],
        "constants": [],
        "foreign": ["elsewhere", "onnx::add"],
    }
    assert "Not in the model: 2 (elsewhere, onnx::add)" in done.stderr
    text = "".join(line + "\n" for line in text.splitlines() if not line.startswith("flat:"))
    cache.write_text(text, encoding="utf-8")
    done = invoked("convert", cache, "--model", model_path, "--to", "cache")
    assert "may stay in floating point, for: 1 (flat)" in done.stderr
    assert "conv1: " in done.stdout, "what only exists inside a fused kernel gets the range of what leaves it"


def test_ranges_of_zero_are_noted_but_not_those_of_constants(tmp_path: Path) -> None:
    """onnxruntime's calibrators give a Clip's bounds ranges, too, of which the lower one's is 0 to 0."""
    (tmp_path / "m.onnx").write_bytes(mixed()[0])
    text = (GOLDEN / "mixed.entropy2.cache").read_text(encoding="utf-8")
    (tmp_path / "c").write_text(f"{text}zero: 00000000\n", encoding="utf-8")
    assert convert(tmp_path / "c", "cache", tmp_path / "m.onnx").notes == ()
    assert "is 0 in" in convert(tmp_path / "c", "cache").notes[0]
    lines = [line for line in text.splitlines() if not line.startswith("stem: ")]
    (tmp_path / "c").write_text("\n".join([*lines, "stem: 00000000", "zero: 00000000"]), encoding="utf-8")
    (note,) = convert(tmp_path / "c", "cache", tmp_path / "m.onnx").notes
    assert note.startswith("The range of one tensor is 0")
    assert "(stem)" in note


def test_onnxruntime_takes_the_tensors_data(cache: Path, model_path: Path, tmp_path: Path) -> None:
    convert(cache, "tensors-data", model_path, tmp_path / "td.json")
    if not hasattr(ort, "load_tensors_data"):
        pytest.skip("this onnxruntime has no reader")
    read = ort.load_tensors_data(tmp_path / "td.json")
    assert read.calibration_method is ort.CalibrationMethod.MinMax
    assert read["relu1"].lowest == 0
    assert read["conv2"].lowest == -read["conv2"].highest
    # No reader of samples is given: all ranges come from the file.
    quantize_static(str(model_path), str(tmp_path / "q.onnx"), None, calibration_cache_path=tmp_path / "td.json")
    found = convert(tmp_path / "q.onnx", "ranges", model_path).imported.ranges
    assert found["relu1"].amax == pytest.approx(amax_of(cache)["relu1"], rel=1e-6)


NORMAL = st.floats(2.0**-60, 2.0**60, width=32)


@settings(max_examples=15, deadline=None)
@given(st.lists(NORMAL, min_size=len(NAMES), max_size=len(NAMES)))
def test_scales_keep_every_bit(tmp_path_factory: pytest.TempPathFactory, scales: list[float]) -> None:
    folder = tmp_path_factory.mktemp("bits")
    onnx.save(tiny_model(), folder / "m.onnx")
    scaled = {name: scale * 127 for name, scale in zip(NAMES, scales, strict=True)}
    text = text_with_header(scaled, "TRT-8600-EntropyCalibration2")
    (folder / "a.cache").write_text(text)
    convert(folder / "a.cache", "ranges", None, folder / "r.txt")
    convert(folder / "r.txt", "json", folder / "m.onnx", folder / "run")
    assert convert(folder / "run", "cache").text == text


def test_names_with_colons_are_noted_where_readers_split_at_them(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("TRT-8600-EntropyCalibration2\nonnx::Relu_7: 3f800000\nb: 3f800000\n")
    done = convert(tmp_path / "c", "ranges")
    assert done.text == "onnx::Relu_7:127\nb:127\n"
    assert "(onnx::Relu_7)" in done.notes[0]
    assert convert(tmp_path / "c", "cache").notes == ()


def test_text_needs_no_model(cache: Path) -> None:
    name, amax = convert(cache, "ranges").text.splitlines()[0].split(":")
    assert name == "input"
    assert float(amax) == pytest.approx(1.5, rel=1e-7)
    done = convert(cache, "tensors-data")
    assert "no model tells which" in done.notes[0]


def check(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    error = done.stderr[done.stderr.index("Error:") :]
    what, hint = error.strip().split("\n", 1)
    assert what.endswith(".")
    assert hint.strip()
    for word in words:
        assert word in error
    assert done.stdout == "" or json.loads(done.stdout)["error"]["hint"] in done.stderr.replace("\n", " ")


HEAD = b"TRT-8600-EntropyCalibration2\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"hello\n", "neither a TensorRT"),
        (b"\x00\x01\x02binary", "neither a TensorRT"),
        (os.urandom(5000) + b"\x00" * 9, "neither a TensorRT"),
        (b"TRT-8600 \na: 3f800000", "first line is"),
        (b"EntropyCalibration2\na: 3f800000\n", "first line is 'EntropyCalibration2'"),
        (b"CAL:8600: Entropy2\na: 3f800000\n", "first line is 'CAL:8600: Entropy2'"),
        (b"a: 39000000\n", "first line is 'a: 39000000'"),
        (b"a: 3f800000\nb: 3f8", "first line is 'a: 3f800000'"),
        (b"\n" + HEAD + b"a: 3f800000\n", "Line 1 of f is blank"),
        (HEAD + b"a: 3f800000\n\nb: 3f800000\n", "Line 3 of f is blank"),
        (HEAD + b"a: 3f800000\nb: 3f8", "cut short"),
        (HEAD + b"a: 3f800000\n\xff\xfe: 3f800000", "Line 3 of f is not UTF-8"),
        (HEAD + b"a: 7fc00000\n", "the value nan"),
        (b"0 3fe0000000000000 3feffffff0000000\na: 3f800000", "legacy"),
        (b"conv1 2.5\nconv2 1e-3\n", "upper end of each range only"),
        (b"a:1\nb:nan", "Line 2 of f"),
        (b"[1]", "neither a TensorsData nor"),
        (b"{", "damaged JSON"),
        (b'{"a": ' * 100_000, "nested too deeply"),
        (b'{"CLS": "TensorsData", "data": {"a": 1, "a": 2}}', "two different values"),
        (b'{"CLS": "TensorsData"}', "without its data"),
        (b'{"CLS": "TensorsData", "data": {"\\ud800": {"lowest": 0, "highest": 1}}}', "is no text"),
        (b'{"schema_version": 2, "tensors": {}}', "is damaged"),
        (b'{"schema_version": 1, "tensors": {}}', "another version"),
    ],
)
def test_what_is_no_source(content: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f").write_bytes(content)
    with pytest.raises(BadInput) as error:
        convert(Path("f"), "cache")
    assert said in error.value.what
    assert error.value.hint.endswith(".")


def test_a_damaged_calibration_is_named(cache: Path, model_path: Path, tmp_path: Path) -> None:
    convert(cache, "json", model_path, tmp_path / "run")
    file = tmp_path / "run" / "calibration.json"
    document: dict[str, Any] = json.loads(file.read_text())
    document["tensors"]["input"]["amax"] = float("nan")
    file.write_text(json.dumps(document))
    with pytest.raises(BadInput, match="is damaged"):
        convert(tmp_path / "run", "cache")


def test_files_are_read_to_a_bound(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ranges, "LARGEST_TEXT", 20)
    with pytest.raises(BadInput, match="is larger than"):
        convert(cache, "ranges")


def test_what_stands_in_the_way(invoked: Quantkit, cache: Path, model_path: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    inputs = {path: path.read_bytes() for path in (cache, model_path)}
    (tmp_path / "link").symlink_to(cache)
    check(invoked("convert", "absent", "--to", "cache"), "There is no file absent")
    check(invoked("convert", "folder", "--to", "cache"), "holds no calibration.json")
    check(invoked("convert", "/dev/null", "--to", "cache"), "is no file")
    check(invoked("convert", cache, "--to", "engine"), "no form 'engine'", "tensors-data")
    check(invoked("convert", cache, "--to", "cache", "--algorithm", "max"), "no algorithm 'max'", "minmax")
    check(invoked("convert", cache, "--to", "cache", "--tensorrt", "ten"), "not a TensorRT version")
    check(invoked("convert", cache, "--to", "cache", "--tensorrt", "11.0"), "reads no calibration cache")
    check(invoked("convert", cache, "--to", "cache", "--json"), "Give a file with -o")
    check(invoked("convert", cache, "--to", "qdq", "-o", "q.onnx"), "--model")
    check(invoked("convert", cache, "--to", "qdq", "--model", model_path), "-o")
    check(invoked("convert", cache, "--to", "cache", "-o", "folder"), "is a folder")
    check(invoked("convert", cache, "--to", "cache", "-o", cache), "would replace the input")
    check(invoked("convert", cache, "--to", "cache", "-o", "link"), "would replace the input")
    check(invoked("convert", cache, "--to", "qdq", "--model", model_path, "-o", model_path), "would replace the input")
    check(invoked("convert", cache, "--to", "json", "--model", model_path, "-o", "."), "not quantkit's")
    check(invoked("convert", model_path, "--to", "cache"), "no QuantizeLinear")
    assert invoked("convert", cache, "--to", "qdq", "--model", model_path, "-o", "q.onnx").returncode == 0
    check(invoked("convert", cache, "--to", "json", "--model", "q.onnx", "-o", "run"), "quantized already")
    assert {path: path.read_bytes() for path in inputs} == inputs
    assert not (tmp_path / "run").exists()


def test_a_cache_of_another_model_is_refused(invoked: Quantkit, tmp_path: Path, model_path: Path) -> None:
    for form, output in (("qdq", "q.onnx"), ("json", "run"), ("cache", "c")):
        source = GOLDEN / "digits.entropy2.cache"
        check(invoked("convert", source, "--model", model_path, "--to", form, "-o", output), "of another model")
        assert not (tmp_path / output).exists()


def test_the_real_mobilenet(invoked: Quantkit, shared: Path, tmp_path: Path) -> None:
    model = shared / "models" / "mobilenet_v2_cifar10.onnx"
    source = shared / "golden" / "tensorrt-8.6.0" / "mobilenet_v2_cifar10.entropy2.cache"
    done = invoked("convert", source, "--model", model, "--to", "qdq", "-o", "q.onnx")
    assert done.returncode == 0, done.stderr
    assert "Of the model's 101 float tensors 101 have a range." in done.stderr
    session = InferenceSession(tmp_path / "q.onnx", providers=["CPUExecutionProvider"])
    assert session.run(None, {"input": np.zeros((1, 3, 224, 224), np.float32)})[0].shape == (1, 10)
    done = invoked("convert", "q.onnx", "--model", model, "--to", "cache", "-o", "back.cache")
    assert done.returncode == 0, done.stderr
    theirs, ours = amax_of(source), amax_of(tmp_path / "back.cache")
    quantized = convert(tmp_path / "q.onnx", "ranges", model).imported.ranges
    assert len(quantized) == 52  # every Conv's and Add's, none of the pool before a layer in floating point
    assert all(ours[name] == theirs[name] for name in quantized)
    assert invoked("convert", source, "--to", "ranges", "-o", "r.txt").returncode == 0
    assert invoked("convert", "r.txt", "--to", "cache").stdout == source.read_text()
