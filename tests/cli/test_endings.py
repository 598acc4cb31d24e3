"""How a command ends: closed and full streams, signals, too little memory, odd encodings and homes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

import quantkit as qk
from quantkit.core.escape import one_line, visible
from quantkit.core.memory import is_out_of_memory
from tests.conftest import Quantkit, tiny_model, write_images

COMMAND = [sys.executable, "-m", "quantkit"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, images, and a compared run."""
    folder = tmp_path_factory.mktemp("compared")
    images = write_images(folder / "imgs")
    onnx.save(tiny_model(), folder / "m.onnx")
    calibration = qk.calibrate(folder / "m.onnx", images, output=folder / "run")
    qk.compare(calibration, images, targets=["onnxruntime"], precisions=["int8"])
    return folder


def shell(command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell's line, in which ``quantkit`` is this one."""
    line = command.replace("quantkit", " ".join(COMMAND))
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, capture_output=True, text=True, timeout=60, env=os.environ | environment
    )


LOST = (">&-", ">/dev/full")


@pytest.mark.parametrize("lost", [">/dev/full", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize(
    ("verb", "code"),
    [
        ("gate run --min-agreement 1", 0),
        ("gate run --min-speedup 1000 --json", 1),
        ("convert run --to ranges", 3),
    ],
)
def test_what_becomes_of_the_text_does_not_change_a_verdict(compared: Path, verb: str, code: int, lost: str) -> None:
    done = shell(f"quantkit {verb} {lost}", compared)
    wanted = 0 if code == 3 and lost == "2>&-" else code  # nothing of the result is lost
    assert done.returncode == wanted, done.stderr
    assert "Traceback" not in done.stderr
    if wanted == 3 and "2>" not in lost:
        assert "cannot be written" in done.stderr


@pytest.mark.parametrize("lost", LOST)
def test_files_that_were_written_make_a_success(compared: Path, lost: str) -> None:
    (compared / "run" / "report.html").unlink(missing_ok=True)
    assert shell(f"quantkit report run {lost}", compared).returncode == 0
    assert (compared / "run" / "report.html").is_file()


@pytest.mark.parametrize(("verb", "code"), [("gate run --min-speedup 1000 --json", 1), ("inspect run", 0)])
def test_a_reader_that_is_gone(compared: Path, verb: str, code: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, *verb.split()], cwd=compared, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


SLOW = """
import sys, time
from quantkit.cli import main
from quantkit.cli.app import app
@app.command()
def slow(swallow: bool = False, fail: bool = False):
    class Finalized:
        def __del__(self):
            print("ready", flush=True); time.sleep(5)
    if swallow:
        one = Finalized()
        del one
        time.sleep(50)
    try:
        print("ready", flush=True); time.sleep(50)
    finally:
        if fail:
            raise ValueError("Can't close the ZIP file")
        time.sleep(0.5)
sys.argv[1:] = ["slow", *sys.argv[1:]]
main.main()
"""


@pytest.mark.parametrize(
    "options", [(), ("--swallow",), ("--fail",)], ids=["plain", "in a finalizer", "while cleaning"]
)
@pytest.mark.parametrize("sent", [[signal.SIGTERM], [signal.SIGINT] * 3, [signal.SIGTERM, signal.SIGINT]])
def test_a_signal_is_the_exit_code_whatever_else_happens(sent: list[signal.Signals], options: tuple[str, ...]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    process.stdout.readline()
    for one in sent:
        process.send_signal(one)
        time.sleep(0.02)
    _, error = process.communicate(timeout=10)
    assert process.returncode == 128 + sent[0]
    assert "Traceback" not in error
    assert "ignored in" not in error


def test_a_job_in_the_background_ends_with_sigterm(tmp_path: Path) -> None:
    """Such jobs ignore SIGINT, which is no reason to ignore SIGTERM."""
    (tmp_path / "slow.py").write_text(SLOW)
    line = f"{sys.executable} slow.py > said & sleep 1.5; kill -INT $!; sleep 0.2; kill $!; wait $!; echo $?"
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.strip() == "143", done.stderr


@pytest.mark.parametrize("limit", [300, 600])
def test_too_little_memory_is_named(compared: Path, limit: int) -> None:
    pytest.importorskip("resource")
    done = shell(f"ulimit -v {limit * 1024}; quantkit compare run --data imgs", compared)
    if done.returncode == 0:
        pytest.skip("it suffices here")
    assert done.returncode == 3, done.stderr
    assert "not enough memory for" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (ImportError("x.so: failed to map segment from shared object"), True),
        (RuntimeError("can't start new thread"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (ValueError("Arena alloc failed"), True),
        (FileNotFoundError(errno.ENOENT, "No such file", "bad_alloc.onnx"), False),
        (ValueError("no memory of it"), False),
    ],
)
def test_memory_is_known_by_every_librarys_words(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) is is_memory
    wrapped = KeyError("something else")
    wrapped.__cause__ = error
    assert is_out_of_memory(wrapped) is is_memory


@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}],
    ids=["C locale", "ascii"],
)
def test_names_that_the_terminal_cannot_show(
    quantkit: Quantkit, images: Path, model_path: Path, environment: dict[str, str]
) -> None:
    images.rename(images.parent / "Bildër Ω")
    done = quantkit(
        "calibrate", model_path, "--data", images.parent / "Bildër Ω", "-o", "läuft", "--no-export", **environment
    )
    assert done.returncode in (0, 2), done.stderr
    assert "UnicodeEncodeError" not in done.stderr
    assert done.returncode == 0 or "not UTF-8" in done.stderr


def test_an_output_whose_name_is_no_text(quantkit: Quantkit, images: Path, model_path: Path, tmp_path: Path) -> None:
    for verb in (("calibrate", model_path, "--data", images), ("report", "run")):
        done = quantkit(*verb, "-o", os.fsdecode(b"o\xff"))
        assert done.returncode == 2
        assert "Error:" in done.stderr
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("o")]


def test_a_home_that_cannot_be_written_is_no_matter(quantkit: Quantkit, compared: Path) -> None:
    unset = {"XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": ""}
    done = quantkit("report", compared / "run", HOME="/proc/1/nowhere", **unset)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\rb", "x\x9b31m", "a\u202eb", "\n::error::no", "ok\n  ##[error]"])
def test_nothing_that_a_terminal_or_a_ci_log_obeys_is_printed(text: str) -> None:
    shown = visible(text)
    assert not any(ord(character) < 32 and character not in "\n\t" for character in shown)
    assert "\u202e" not in shown
    assert "\n::" not in shown
    assert "\n  ##[" not in shown
    assert "\n" not in one_line(text)


def test_plain_text_is_shown_as_it_is() -> None:
    for text in ("N × 3 × 16", "a::b", "two\nlines", "conv:0 [x]"):
        assert visible(text) == text
