"""Hostile data, run files, names and outputs: refused in time with a sentence, or harmless."""

from __future__ import annotations

import json
import os
import shutil
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import quantkit as qk
from quantkit.core.errors import BadData, BadRun
from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.files import load_histograms
from quantkit.datasets.arrays import open_arrays
from quantkit.datasets.base import Unreadable
from quantkit.datasets.decode import decode_rgb
from quantkit.datasets.npy import row_of
from quantkit.reports.content.thumbnails import make_thumbnails
from tests.conftest import Quantkit, tiny_model, write_images

SECONDS = 5.0  # that a refusal may take


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    onnx.save(tiny_model(), folder / "m.onnx")
    calibration = qk.calibrate(folder / "m.onnx", write_images(folder / "imgs"), output=folder / "run")
    qk.compare(calibration, folder / "imgs", targets=["onnxruntime"], precisions=["int8"])
    return folder


@pytest.fixture
def run(compared: Path, tmp_path: Path) -> Path:
    shutil.copytree(compared / "run", tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("kind", ["fifo", "zero"])
@pytest.mark.parametrize(
    "command",
    [
        "inspect {}",
        "lint {}",
        "calibrate m.onnx --data {}",
        "calibrate {} --data imgs",
        "calibrate m.onnx --data imgs -c {}",
        "calibrate m.onnx --data imgs --classes {}",
        "calibrate m.onnx --data list.txt",
        "compare run --data imgs --labels {}",
        "gate run --gates {}",
        "convert {} --to ranges",
        "merge part",
    ],
)
def test_pipes_and_devices_are_refused(
    invoked: Quantkit, compared: Path, run: Path, tmp_path: Path, command: str, kind: str
) -> None:
    for name in ("m.onnx", "imgs"):
        (tmp_path / name).symlink_to(compared / name)
    place = tmp_path / "strange"
    os.mkfifo(place) if kind == "fifo" else place.symlink_to("/dev/zero")
    (tmp_path / "list.txt").write_text("strange\n")
    (tmp_path / "part").mkdir()
    (tmp_path / "part/part.json").symlink_to(place)
    start = time.perf_counter()
    done = invoked(*command.format(place).split())
    assert done.returncode == 2, done.stderr
    assert time.perf_counter() - start < SECONDS


@pytest.mark.parametrize("name", ["quantkit.toml", "gate.json", "report.html", "manifest.json", "predictions.npz"])
def test_a_pipe_among_the_files_of_a_run_is_refused(invoked: Quantkit, compared: Path, run: Path, name: str) -> None:
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    for verb in (("compare", run, "--data", compared / "imgs"), ("report", run), ("calibrate", "-o", run)):
        done = invoked(*verb)
        assert done.returncode == 2, done.stderr


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 5000 + "]" * 5000, "a" + ".b" * 3000 + " = 1", "[preprocess]\ncrop_pct = 1e-6"]
)
def test_hostile_configurations_are_refused(invoked: Quantkit, tmp_path: Path, text: str) -> None:
    (tmp_path / "quantkit.toml").write_text(text)
    done = invoked("run")
    assert done.returncode == 2, done.stderr


# Data


def test_a_file_that_is_truncated_while_it_is_read_ends_no_process(tmp_path: Path) -> None:
    values = np.arange(4 * 5000, dtype=np.float32).reshape(4, 5000)
    for order in ("C", "F"):
        np.save(tmp_path / "x.npy", np.asarray(values, order=order))
        array = open_arrays(tmp_path / "x.npy")[""]
        assert np.array_equal(row_of(array, 2), values[2])
        os.truncate(tmp_path / "x.npy", 30_000)
        with pytest.raises(Unreadable, match="truncated"):
            row_of(array, 3)


@pytest.mark.parametrize("shape", ["(-4, 3)", "(4, -3)", "(10**9, 10**9)", "(2,"])
def test_a_header_that_lies_is_refused(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(48))
    with pytest.raises(BadData, match="not a readable"):
        open_arrays(tmp_path / "x.npy")


def photograph(form: str, exif: bytes) -> bytes:
    import io

    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)).save(buffer, form, exif=exif)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_exif_data_costs_the_rotation_alone() -> None:
    good = Image.Exif()
    good[0x0112] = 6
    whole = good.tobytes()
    rng = np.random.default_rng(2)
    for form in ("JPEG", "WEBP"):
        assert decode_rgb(photograph(form, whole)).size == (20, 30)
        for _ in range(60):
            damaged = bytearray(whole)
            for at in rng.integers(6, len(whole), 3):
                damaged[at] = rng.integers(0, 256)
            assert sorted(decode_rgb(photograph(form, bytes(damaged))).size) == [20, 30]


# Run files


def edited(path: Path, change: Callable[[Any], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def tensor(key: str, value: object) -> Callable[[Any], object]:
    return lambda document: document["tensors"]["conv1"].update({key: value})


CALIBRATIONS: dict[str, tuple[Callable[[Any], object], str]] = {
    "negative": (tensor("amax", -1.0), "tensors.conv1"),
    "zero": (tensor("amax", 0), "tensors.conv1"),
    "huge": (tensor("amax", 1e308), "tensors.conv1"),
    "upside down": (lambda d: d["tensors"]["conv1"].update({"low": 1.0, "high": -1.0}), "tensors.conv1"),
    "candidate": (lambda d: d["tensors"]["conv1"]["candidates"]["mse"].update({"amax": -1}), "tensors.conv1"),
    "none": (lambda d: d.update({"tensors": {}}), "tensors"),
    "one less": (lambda d: d["tensors"].pop("conv1"), "conv1"),
    "another name": (lambda d: d["tensors"].update({"conv1\0": d["tensors"].pop("conv1")}), "conv1"),
    "deep": (lambda d: d.update({"warnings": json.loads("[" * 400 + "]" * 400)}), "recursion"),
}


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_a_calibration_that_cannot_be_is_refused_with_file_and_key(run: Path, name: str) -> None:
    change, key = CALIBRATIONS[name]
    edited(run / "calibration.json", change)
    with pytest.raises(BadRun, match=rf"calibration\.json.*{key}"):
        qk.load_calibration(run)


@pytest.mark.parametrize("value", [-1.0, 0.0, 1e308, float("nan"), float("inf")])
def test_a_range_fits_into_float32(value: float) -> None:
    with pytest.raises(ValueError, match="range"):
        TensorRange(value, -1.0, 1.0)


HISTOGRAMS: dict[str, tuple[str, Callable[[np.ndarray], object]]] = {
    "width NaN": ("width", lambda a: a.__setitem__(0, np.nan)),
    "width 0": ("width", lambda a: a.__setitem__(1, 0)),
    "width below 0": ("width", lambda a: a.__setitem__(1, -1)),
    "counts below 0": ("positive", lambda a: a.__setitem__((0, 5), -7)),
    "minimum NaN": ("minimum", lambda a: a.__setitem__(0, np.nan)),
    "upside down": ("minimum", lambda a: a.__setitem__(0, 1e9)),
    "name twice": ("names", lambda a: a.__setitem__(0, a[1])),
}


@pytest.mark.parametrize("name", HISTOGRAMS)
def test_histograms_that_cannot_be_are_refused(run: Path, name: str) -> None:
    key, change = HISTOGRAMS[name]
    with np.load(run / "histograms.npz") as file:
        arrays = {each: file[each].copy() for each in file.files}
    change(arrays[key])
    np.savez(run / "histograms.npz", **arrays)
    with pytest.raises(BadRun, match=rf"histograms\.npz.*{key}"):
        load_histograms(run / "histograms.npz")


@pytest.mark.parametrize("name", ["histograms.npz", "statistics.npz", "moments.npz", "calibration.json"])
def test_flipped_bytes_never_change_a_value(run: Path, name: str) -> None:
    data = (run / name).read_bytes()
    before = qk.load_calibration(run)
    rng = np.random.default_rng(1)
    for at in rng.integers(0, len(data), 12):
        damaged = bytearray(data)
        damaged[at] ^= 1 << int(rng.integers(0, 8))
        (run / name).write_bytes(damaged)
        try:
            after = qk.load_calibration(run)
        except BadRun:
            continue
        if name != "calibration.json":
            assert after.collected == before.collected


def test_a_bomb_in_a_run_is_not_unpacked(run: Path) -> None:
    with zipfile.ZipFile(run / "histograms.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("names.npy", "w", force_zip64=True) as member:
            for _ in range(3 << 10):
                member.write(bytes(1 << 20))
    start = time.perf_counter()
    with pytest.raises(BadRun, match="GB"):
        load_histograms(run / "histograms.npz")
    assert time.perf_counter() - start < SECONDS


COMPARISONS: dict[str, tuple[Callable[[Any], object], str]] = {
    "latency": (lambda d: d["rows"][0]["latency_ms"].update({"p50": 1e308}), r"rows\.0\.latency_ms\.p50"),
    "SQNR": (lambda d: d["rows"][1].update({"sqnr_db": -1e308}), r"rows\.1\.sqnr_db"),
    "speed-up": (lambda d: d["rows"][1].update({"speedup": 1e300}), r"rows\.1\.speedup"),
    "interval": (
        lambda d: d["rows"][0]["metrics"]["top1"].update({"low": 0.9, "high": 0.1}),
        r"rows\.0\.metrics\.top1",
    ),
    "rows": (lambda d: d.update({"rows": []}), "rows"),
    "size": (lambda d: d["rows"][0].update({"size_bytes": 10**400}), r"rows\.0\.size_bytes"),
}


@pytest.mark.parametrize("name", COMPARISONS)
def test_a_comparison_that_cannot_be_is_refused_with_file_and_key(run: Path, name: str) -> None:
    change, key = COMPARISONS[name]
    edited(run / "comparison.json", change)
    with pytest.raises(BadRun, match=rf"comparison\.json.*{key}"):
        qk.load_comparison(run)


# What is shown


HOSTILE = "evil\x1b[31m\r\n::error file=x::owned"


def test_names_cannot_speak_to_the_terminal_or_the_ci_system(invoked: Quantkit, tmp_path: Path, images: Path) -> None:
    model = tiny_model()
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [HOSTILE if name == "relu1" else name for name in names]
        node.name = HOSTILE if node.name == "relu1" else node.name
    onnx.save(model, tmp_path / "m.onnx")
    (images / "red" / f"{HOSTILE.replace('/', '')}.png").write_bytes(b"no image")
    outputs = [
        invoked("inspect", "m.onnx"),
        invoked("calibrate", "m.onnx", "--data", images, "-o", "out", "--exclude", HOSTILE + "?"),
        invoked("calibrate", "m.onnx", "--data", images / "blue", "-o", "out"),
        invoked("inspect", "out"),
        invoked("inspect", HOSTILE),
    ]
    shown = "".join(done.stdout + done.stderr for done in outputs)
    assert "\x1b" not in shown
    assert not any(line.lstrip().startswith("::") for line in shown.splitlines())
    assert "evil" in shown


def test_a_thumbnail_is_of_the_datas_own_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for place in ("secret.png", "data/own.png"):
        Image.new("RGB", (8, 8), "red").save(tmp_path / place)
    (tmp_path / "data/link.png").symlink_to(tmp_path / "secret.png")
    names = ["../secret.png", str(tmp_path / "secret.png"), "link.png", "own.png"]
    (tmp_path / "data/list.txt").write_text("\n".join(names))
    for data in (tmp_path / "data", tmp_path / "data/list.txt"):
        assert list(make_thumbnails(str(data), names)) == ["own.png"]


# Outputs


@pytest.mark.parametrize("content", [None, b"my own notes", b"<html>mine</html>"])
@pytest.mark.parametrize(
    "command",
    [
        "report run -o {}",
        "report run --chart {}.svg",
        "report run run2 -o {}",
        "gate run --min-agreement 1 --junit {}",
        "convert run --to ranges -o {}",
        "convert run --to cache -o {}",
        "convert run --to qdq --model m.onnx -o {}",
    ],
)
def test_no_output_replaces_what_quantkit_did_not_write(
    invoked: Quantkit, compared: Path, run: Path, tmp_path: Path, command: str, content: bytes | None
) -> None:
    (tmp_path / "m.onnx").symlink_to(compared / "m.onnx")
    shutil.copytree(run, tmp_path / "run2")
    mine = tmp_path / ("mine.svg" if ".svg" in command else "mine")
    kept = (compared / "m.onnx").read_bytes() if content is None else content
    mine.write_bytes(kept)
    words = command.format("mine").split()
    done = invoked(*words)
    assert done.returncode == 2, done.stderr
    assert "--force" in done.stderr
    assert mine.read_bytes() == kept
    assert invoked(*words, "--force").returncode == 0
    assert mine.read_bytes() != kept
    again = invoked(*words)
    assert again.returncode == 0, again.stderr
