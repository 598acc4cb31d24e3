"""Faults in and around a run: what is the user's stays, what is quantkit's is whole, and nothing else is believed."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import quantkit as qk
from quantkit.core import files
from quantkit.core.errors import BadInput, BadModel, BadRun
from quantkit.core.locking import locked
from quantkit.core.statistics.files import load_histograms
from quantkit.graph import model_file
from quantkit.pipeline import artifact_files, keeping, replacement, run_files, writing
from quantkit.pipeline.calibration import result
from quantkit.pipeline.calibration.checkpoint import POSITION_FILE
from quantkit.pipeline.run_directory import PARTIAL
from quantkit.pipeline.run_layout import NEXT
from tests.conftest import Quantkit, tiny_model, write_images


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, images, and a run with ONNX Runtime's artifacts."""
    folder = tmp_path_factory.mktemp("finished")
    onnx.save(tiny_model(), folder / "m.onnx")
    calibration = qk.calibrate(folder / "m.onnx", write_images(folder / "imgs"), output=folder / "run")
    qk.export(calibration, target="onnxruntime", precisions=("fp16", "int8"))
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of that run; its model and its images are not copied."""
    shutil.copytree(finished / "run", tmp_path / "run")
    return tmp_path / "run"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def other_model(path: Path) -> Path:
    """The same graph with other weights."""
    model = tiny_model()
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.5), tensor.name))
    onnx.save(model, path)
    return path


# What is the user's


@pytest.mark.parametrize("name", ["mine.txt", "model.onnx.bak", "notes/mine.txt"])
def test_files_of_the_users_beside_an_artifact_stay(run: Path, invoked: Quantkit, name: str) -> None:
    mine = run / "artifacts/onnxruntime/int8" / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    for method in ("minmax", "mse"):
        done = invoked("calibrate", "--method", method, "-o", run)
        assert done.returncode == 0, done.stderr
        assert mine.read_text() == "mine"
    assert (run / "artifacts/onnxruntime/int8/model.onnx").is_file()


def test_an_artifact_that_the_user_changed_is_kept_and_not_measured(
    run: Path, finished: Path, invoked: Quantkit
) -> None:
    model = run / "artifacts/onnxruntime/int8/model.onnx"
    shutil.copy(finished / "m.onnx", model)
    done = invoked("compare", run, "--data", finished / "imgs", "--target", "onnxruntime", "--precision", "int8")
    assert done.returncode == 2
    assert "not the file that quantkit wrote" in done.stderr
    invoked("calibrate", "--method", "minmax", "-o", run, "--no-export")
    assert model.read_bytes() == (finished / "m.onnx").read_bytes()


@pytest.mark.parametrize("link", ["artifacts", "artifacts/onnxruntime", "artifacts/onnxruntime/int8"])
def test_no_link_is_followed_to_delete(run: Path, tmp_path: Path, link: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.move(run / link, elsewhere)
    (run / link).symlink_to(elsewhere)
    before = contents(elsewhere)
    keeping.forget_results(run, ("fp16", "int8"))
    assert contents(elsewhere) == before
    assert (run / link).is_symlink()


@pytest.mark.parametrize("name", ["../../../../mine.txt", "/tmp/mine.txt", "a/../../b", ""])
def test_a_record_names_files_of_its_own_folder_alone(run: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    record = run / "artifacts/onnxruntime/int8/artifact.json"
    document = json.loads(record.read_text())
    record.write_text(
        json.dumps(document | {"files": [name], "sha256": {name: files.sha256_of(tmp_path / "mine.txt")}})
    )
    assert artifact_files.recorded_files(record.parent) is None
    keeping.forget_results(run, ("int8",))
    assert (tmp_path / "mine.txt").is_file()


# The old run stays until the new one is whole


@pytest.mark.parametrize("moment", ["save_calibration", "write_manifest", "replacing"])
@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()], ids=["disk", "signal"]
)
def test_a_replacement_that_fails_leaves_the_old_run(
    run: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, moment: str, failure: BaseException
) -> None:
    before = contents(run)

    def fail(*arguments: object, **options: object) -> None:
        raise failure

    other = write_images(run.parent / "other", per_class=5)
    monkeypatch.setattr(result, moment, fail)
    with pytest.raises((BadInput, OSError, KeyboardInterrupt)):
        qk.calibrate(finished / "m.onnx", other, output=run)
    after = {name: data for name, data in contents(run).items() if not name.startswith(PARTIAL)}
    assert after == before


@pytest.mark.parametrize("moved", [0, 1, 3])
def test_a_replacement_that_was_killed_is_completed(
    run: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    """After the new calibration is whole, readers see it, and the next writer puts it in place."""

    def killed(folder: Path) -> None:
        for file in sorted((folder / NEXT).iterdir())[:moved]:
            file.replace(folder / file.name)
        raise KeyboardInterrupt

    other = write_images(run.parent / "other", per_class=5)
    with monkeypatch.context() as patch:
        patch.setattr(replacement, "complete_replacement", killed)
        with pytest.raises(KeyboardInterrupt):
            qk.calibrate(finished / "m.onnx", other, output=run)
    seen = qk.load_calibration(run)
    assert seen.samples == 15
    again = qk.calibrate(finished / "m.onnx", other, output=run)
    assert again.ranges == seen.ranges
    assert not (run / NEXT).exists()
    assert not (run / "artifacts/onnxruntime/int8/model.onnx").exists()


def test_what_killed_writers_left_is_removed(run: Path, finished: Path) -> None:
    for place in (run, run / "artifacts/onnxruntime"):
        (place / f"{files.TEMPORARY}model.x").write_text("half")
        (place / f"{files.TEMPORARY}int8.y").mkdir()
    (run / f"{files.TEMPORARY}link").symlink_to(finished)
    (run / ".mine").write_text("mine")
    qk.export(qk.load_calibration(run), target="onnxruntime")
    assert [path.name for path in run.rglob(".*")] == [".mine"]
    assert (finished / "m.onnx").is_file()


# What is counted is what is recorded


@pytest.mark.parametrize("way", ["replaced", "written into", "replaced, times kept"])
@pytest.mark.parametrize("verb", ["calibrate", "export", "compare"])
def test_a_model_that_changes_is_refused(
    finished: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, way: str
) -> None:
    """It changes between its digest and its loading, or while it is compared."""
    model = tmp_path / "m.onnx"
    shutil.copy(finished / "m.onnx", model)
    other = other_model(tmp_path / "other.onnx").read_bytes()
    calibration = qk.load_calibration(run)
    calibration = calibration.model_copy(
        update={"model": calibration.model.model_copy(update={"path": str(model)}), "folder": None}
    )
    original = model_file.sha256_of

    def changing(*paths: Path) -> str:
        digest = original(*paths)
        monkeypatch.setattr(model_file, "sha256_of", original)
        status = model.stat()
        if way == "written into":
            model.write_bytes(other)
        else:
            (tmp_path / "new").write_bytes(other)
            (tmp_path / "new").replace(model)
        if "times kept" in way:
            os.utime(model, ns=(status.st_atime_ns, status.st_mtime_ns))
        return digest

    monkeypatch.setattr(model_file, "sha256_of", changing)
    with pytest.raises(BadModel, match="has changed"):
        if verb == "calibrate":
            qk.calibrate(model, finished / "imgs", output=tmp_path / "new-run")
        elif verb == "export":
            qk.export(calibration, target="onnxruntime", output=tmp_path / "out")
        else:
            qk.compare(calibration, finished / "imgs", targets=["onnxruntime"])


# One writer, and whole readings


@pytest.mark.parametrize(
    "verb",
    [
        "compare run --data imgs",
        "calibrate --method minmax -o run",
        "export run",
        "report run",
        "calibrate m.onnx --data imgs -o run --fresh",
    ],
)
def test_while_one_command_writes_others_wait_or_are_refused(
    finished: Path, run: Path, invoked: Quantkit, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    for name in ("m.onnx", "imgs"):
        (run.parent / name).symlink_to(finished / name)
    monkeypatch.setattr(writing, "SHORTLY", 0.2)
    before = contents(run)
    with locked(run):
        done = invoked(*verb.split())
        assert done.returncode == 2, done.stderr
        assert "Another quantkit is working" in done.stderr
    assert contents(run) == before


def test_the_lock_holds_between_processes(run: Path) -> None:
    command = [sys.executable, "-m", "quantkit", "export", "run", "--target", "onnxruntime"]
    for code in (2, 0):
        with locked(run) if code else nullcontext():
            done = subprocess.run(command, cwd=run.parent, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr


def test_histograms_of_another_calibration_are_no_snapshot(run: Path, finished: Path, tmp_path: Path) -> None:
    qk.calibrate(finished / "m.onnx", write_images(tmp_path / "other", per_class=4), output=tmp_path / "second")
    for name in ("histograms.npz", "statistics.npz", "moments.npz"):
        kept = (run / name).read_bytes()
        shutil.copy(tmp_path / "second" / name, run / name)
        with pytest.raises(BadRun, match=name):
            qk.load_calibration(run)
        (run / name).write_bytes(kept)
    assert qk.load_calibration(run).samples == 18


@pytest.mark.parametrize("kind", ["fifo", "folder", "link to a device"])
def test_a_lock_file_that_is_none_is_refused(run: Path, kind: str) -> None:
    lock = run / ".lock"
    {"fifo": os.mkfifo, "folder": os.mkdir, "link to a device": lambda path: path.symlink_to("/dev/zero")}[kind](lock)
    with pytest.raises(BadRun, match="not a regular file"):
        qk.export(qk.load_calibration(run), target="onnxruntime")


@pytest.mark.parametrize("reason", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, reason: int
) -> None:
    def without(*arguments: object) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(fcntl, "flock", without)
    with locked(run):
        with pytest.raises(BadRun, match="Another quantkit"), locked(run):
            pass
    with locked(run):
        assert "has no locks" in caplog.text


# Checkpoints


@pytest.fixture
def interrupted(finished: Path, tmp_path: Path) -> Callable[[], qk.Calibration]:
    """Interrupt a pass in ``tmp_path/out``, and return a function that gives the same command again."""

    @contextmanager
    def stopping(*arguments: object) -> Iterator[Callable[[int], None]]:
        counted = []

        def advance(count: int) -> None:
            counted.append(count)
            if len(counted) == 9:
                raise KeyboardInterrupt

        yield advance

    with pytest.raises(KeyboardInterrupt):
        qk.calibrate(finished / "m.onnx", finished / "imgs", output=tmp_path / "out", progress=stopping)
    assert (tmp_path / "out" / PARTIAL / POSITION_FILE).is_file()
    return lambda: qk.calibrate(finished / "m.onnx", finished / "imgs", output=tmp_path / "out")


def flip(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 0x10
    path.write_bytes(data)


def forge(partial: Path, **values: object) -> None:
    document = json.loads((partial / POSITION_FILE).read_text())
    (partial / POSITION_FILE).write_text(json.dumps(document | values))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "histograms": lambda partial: flip(partial / "histograms.npz", 0.5),
    "statistics": lambda partial: flip(partial / "statistics.npz", 0.4),
    "position": lambda partial: flip(partial / POSITION_FILE, 0.3),
    "truncated": lambda partial: (partial / "histograms.npz").write_bytes(b"PK"),
    "done below 0": lambda partial: forge(partial, done=-5),
    "done far": lambda partial: forge(partial, done=10**9),
    "counted far": lambda partial: forge(partial, counted=10**30),
    "one more": lambda partial: forge(partial, done=9),
    "no digests": lambda partial: forge(partial, digests={}),
    "a list": lambda partial: (partial / POSITION_FILE).write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_starts_the_pass_over(
    interrupted: Callable[[], qk.Calibration],
    finished: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    DAMAGES[damage](tmp_path / "out" / PARTIAL)
    interrupted()
    assert "starts over" in caplog.text
    own, whole = (load_histograms(folder / "histograms.npz") for folder in (tmp_path / "out", finished / "run"))
    for name, histogram in whole.items():
        assert np.array_equal(own[name].positive, histogram.positive)
        assert np.array_equal(own[name].negative, histogram.negative)


def test_a_whole_checkpoint_goes_on(
    interrupted: Callable[[], qk.Calibration], caplog: pytest.LogCaptureFixture
) -> None:
    interrupted()
    assert "starts over" not in caplog.text


def test_a_comparison_that_cannot_be_written_leaves_the_earlier_one(
    run: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibration = qk.load_calibration(run)
    calibration = calibration.model_copy(
        update={"model": calibration.model.model_copy(update={"path": str(finished / "m.onnx")})}
    )
    given: dict[str, object] = {"targets": ["onnxruntime"], "precisions": ["fp16"]}
    qk.compare(calibration, finished / "imgs", **given)  # type: ignore[arg-type]
    before = contents(run)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(run_files, "write_text", full)
    with pytest.raises(BadInput, match="is full"):
        qk.compare(calibration, finished / "imgs", samples=4, **given)  # type: ignore[arg-type]
    assert contents(run) == before
