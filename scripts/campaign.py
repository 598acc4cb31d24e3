"""Disturbs quantkit at random moments and feeds it damaged input, and checks what it promises.

python scripts/campaign.py [--seconds 60] [--seed 0] [--trial N] [--json FILE]

Each trial is a process of its own on a copy of the demo: a kill (SIGKILL, SIGTERM, Ctrl-C once or thrice) of a verb, a
full disk, flipped bytes in the files of a run, damaged models, data and configurations, or closed and full streams.
Promised are: the documented exit codes alone, no traceback, no hang, the user's files as they were, and, after a
disturbed command was given again, the same counts to the bit as without the disturbance.

A trial depends on the seed and its number alone (but for the moment at which a signal arrives): --trial N repeats one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from quantkit.demo.write import write_demo

QUANTKIT = [sys.executable, "-m", "quantkit"]
LONGEST = 60.0  # seconds that a command may take
LOOKS = ("--preprocess", "zero-to-one")
SAMPLES = ("--samples", "40")
CALIBRATE = (
    "calibrate",
    "model.onnx",
    "--data",
    "imgs/calib",
    *SAMPLES,
    "-o",
    "run",
    "--no-export",
    *LOOKS,
)
COMPARE = ("compare", "run", "--data", "imgs/eval", "--samples", "20", "--target", "onnxruntime", "--precision", "int8")
VERBS: dict[str, Sequence[str]] = {
    "calibrate": (*CALIBRATE, "--fresh"),
    "solve": ("calibrate", "--method", "minmax", "-o", "run", "--no-export"),
    "export": ("export", "run", "--target", "onnxruntime"),
    "compare": COMPARE,
    "report": ("report", "run"),
    "gate": ("gate", "run", "--min-agreement", "1"),
    "inspect": ("inspect", "run"),
    "convert": ("convert", "run", "--to", "ranges"),
}
PASSED_GATE, FAILED_GATE = ("gate", "run", "--min-agreement", "1"), ("gate", "run", "--min-speedup", "1000", "--json")
ALLOWED = {0, 1, 2, 5}  # of input that is damaged; 3 would be an internal failure
MINE = "run/artifacts/onnxruntime/int8/mine.txt"


@dataclass(frozen=True)
class Failure:
    """A promise that was not kept, and how to see it again."""

    kind: str
    trial: int
    what: str


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    output: str


class Broken(Exception):
    """A promise that was not kept."""


class Trial:
    """One disturbance of a copy of the demo in ``folder``."""

    def __init__(self, folder: Path, rng: random.Random, whole: dict[str, str]) -> None:
        self.folder = folder
        self.rng = rng
        self.whole = whole  # digests of the counts that an undisturbed calibration makes

    def run(self, *words: str, limit: Callable[[], None] | None = None, **streams: int) -> Done:
        """Run one command to its end. Raises Broken if it hangs or shows a traceback."""
        with tempfile.TemporaryFile() as told:
            process = subprocess.Popen(
                [*QUANTKIT, *words],
                cwd=self.folder,
                preexec_fn=limit,
                env=os.environ | {"NO_COLOR": "1"},
                **({"stdout": told, "stderr": told} | streams),  # type: ignore[call-overload]
            )
            return self.ended(process, told, words)

    def ended(self, process: subprocess.Popen[bytes], told: object, words: Sequence[str]) -> Done:
        """Wait for a command."""
        try:
            code = process.wait(LONGEST)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise Broken(f"{' '.join(words)} hangs") from error
        told.seek(0)  # type: ignore[attr-defined]
        output = told.read().decode("utf-8", "replace")  # type: ignore[attr-defined]
        if "Traceback" in output or "Exception ignored" in output:
            raise Broken(f"{' '.join(words)} ends with {code} and a traceback: {output[-1500:]}")
        return Done(code, output)

    def expect(self, done: Done, codes: set[int], words: Sequence[str]) -> None:
        """Raise Broken for another exit code."""
        if done.code not in codes:
            raise Broken(f"{' '.join(words)} ends with {done.code}, not {sorted(codes)}: {done.output[-800:]}")

    def again(self) -> None:
        """Give the calibration again, undisturbed, and compare its counts."""
        words = CALIBRATE
        self.expect(self.run(*words), {0}, words)
        found = counts_of(self.folder / "run")
        if found != self.whole:
            raise Broken(f"the counts differ from an undisturbed run's: {sorted(found)}")
        left = [path for path in (self.folder / "run").rglob(".*") if path.name.startswith((".quantkit-tmp", ".next"))]
        if left:
            raise Broken(f"temporaries stay: {left}")

    # Disturbances

    def killed(self) -> None:
        """A signal at any moment."""
        verb = self.rng.choice(["calibrate", "solve", "export", "compare", "report", "gate"])
        sent, times = self.rng.choice(
            [(signal.SIGKILL, 1), (signal.SIGTERM, 1), (signal.SIGINT, 1), (signal.SIGINT, 3), (signal.SIGTERM, 2)]
        )
        moment, pause = self.rng.uniform(0.02, 1.6), self.rng.choice([0, 0.01, 0.1])
        words = VERBS[verb]
        with tempfile.TemporaryFile() as told:
            process = subprocess.Popen(
                [*QUANTKIT, *words],
                cwd=self.folder,
                stdout=told,
                stderr=subprocess.DEVNULL if moment < 0.3 else told,  # Python's own words while it starts
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
            time.sleep(moment)
            for _ in range(times):
                process.send_signal(sent)
                time.sleep(pause)
            done = self.ended(process, told, words)
        # A process may end by the signal itself before quantkit's first line runs.
        self.expect(done, {0, -sent} if sent == signal.SIGKILL else {0, 128 + sent, -sent}, words)
        if (self.folder / "run/calibration.json").exists():
            self.expect(self.run("inspect", "run"), {0}, ("inspect", "run"))
        self.again()

    def full_disk(self) -> None:
        """Files that may not grow beyond a size."""
        size = int(10 ** self.rng.uniform(2, 5.5))
        verb = self.rng.choice(["calibrate", "solve", "export", "compare", "report"])
        if verb == "calibrate":
            words: Sequence[str] = ("calibrate", "model.onnx", "--data", "imgs/eval", *CALIBRATE[4:])
        else:
            words = VERBS[verb]

        def limit() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        before = counts_of(self.folder / "run")
        done = self.run(*words, limit=limit, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.expect(done, {0, 2}, words)
        if done.code and counts_of(self.folder / "run") != before:
            raise Broken(f"{' '.join(words)} with files of {size} bytes took the old run")
        self.expect(self.run("inspect", "run"), {0}, ("inspect", "run"))
        self.again()

    def damaged_run(self) -> None:
        """Flipped bytes in a file of the run."""
        files = [
            path for path in sorted((self.folder / "run").rglob("*")) if path.is_file() and path.name != "mine.txt"
        ]
        path = self.rng.choice(files)
        damage(path, self.rng)
        for verb in self.rng.sample(sorted(VERBS), 2):
            done = self.run(*VERBS[verb])
            self.expect(done, ALLOWED, (*VERBS[verb], f"after damage to {path.relative_to(self.folder)}"))

    def damaged_checkpoint(self) -> None:
        """Flipped bytes in a checkpoint, which is given up with a warning."""
        shutil.rmtree(self.folder / "run")
        with tempfile.TemporaryFile() as told:
            process = subprocess.Popen(
                [*QUANTKIT, *CALIBRATE],
                cwd=self.folder,
                stdout=told,
                stderr=told,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
            time.sleep(self.rng.uniform(0.5, 1.2))
            process.send_signal(signal.SIGINT)
            self.expect(self.ended(process, told, CALIBRATE), {0, 130, -2}, CALIBRATE)
        for path in sorted(self.folder.glob("run/.partial/*")):
            if self.rng.random() < 0.5:
                damage(path, self.rng)
        self.again()

    def damaged_input(self) -> None:
        """A model, data, labels or a configuration with flipped, lost and repeated bytes."""
        kind = self.rng.choice(["model", "npz", "npy", "image", "toml", "labels", "list"])
        out = ("-o", "new", "--no-export")
        words: Sequence[str] = ("calibrate", "model.onnx", "--data", "imgs/calib", *SAMPLES, *out, *LOOKS)
        if kind == "model":
            damage(self.folder / "model.onnx", self.rng)
            words = self.rng.choice([words, ("inspect", "model.onnx"), ("lint", "model.onnx"), VERBS["compare"]])
        elif kind in ("npz", "npy"):
            data = write_arrays(self.folder, kind)
            damage(data, self.rng)
            words = ("calibrate", "model.onnx", "--data", data.name, *out)
        elif kind == "image":
            for path in self.rng.sample(sorted(self.folder.glob("imgs/calib/*/*")), 2):
                damage(path, self.rng)
        elif kind == "toml":
            damage(self.folder / "quantkit.toml", self.rng)
            words = (*self.rng.choice([("run",), ("calibrate",)]), "--dump-config")
        elif kind == "labels":
            flat = next(self.folder.glob("imgs/eval/*"))
            lines = "".join(f"{path.name},{at % 10}\n" for at, path in enumerate(sorted(flat.iterdir())))
            (flat / "labels.csv").write_text("file,class\n" + lines)
            damage(flat / "labels.csv", self.rng)
            words = (*COMPARE[:3], str(flat.relative_to(self.folder)), *COMPARE[4:])
        else:
            names = sorted(path.relative_to(self.folder).as_posix() for path in self.folder.glob("imgs/calib/*/*"))
            (self.folder / "list.txt").write_text("\n".join(names[:40]))
            damage(self.folder / "list.txt", self.rng)
            words = ("calibrate", "model.onnx", "--data", "list.txt", *out, *LOOKS)
        self.expect(self.run(*words), ALLOWED, (*words, f"with a damaged {kind}"))

    def lost_streams(self) -> None:
        """Closed and full standard streams, and a reader that is gone."""
        words, code = self.rng.choice([(PASSED_GATE, 0), (FAILED_GATE, 1), (VERBS["report"], 0), (VERBS["inspect"], 3)])
        way = self.rng.choice(["closed", "full", "gone", "no stderr"])
        if way == "gone":
            reader, writer = os.pipe()
            os.close(reader)
            done = self.run(*words, stdout=writer)
            os.close(writer)
        else:
            redirection = {"closed": ">&-", "full": ">/dev/full", "no stderr": "2>&-"}[way]
            line = f'"$@" {redirection}'
            process = subprocess.run(["sh", "-c", line, "sh", *QUANTKIT, *words], cwd=self.folder, capture_output=True)
            done = Done(process.returncode, (process.stdout + process.stderr).decode("utf-8", "replace"))
        wanted = 0 if code == 3 and way in ("gone", "no stderr") else code
        self.expect(done, {wanted}, (*words, f"with stdout {way}"))


KINDS: dict[str, Callable[[Trial], None]] = {
    "killed": Trial.killed,
    "full disk": Trial.full_disk,
    "damaged run": Trial.damaged_run,
    "damaged checkpoint": Trial.damaged_checkpoint,
    "damaged input": Trial.damaged_input,
    "lost streams": Trial.lost_streams,
}


def damage(path: Path, rng: random.Random) -> None:
    """Flip, lose, repeat or replace some bytes of a file."""
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = rng.randrange(len(data)) if data else 0
        way = rng.choice(["flip", "flip", "set", "cut", "repeat", "end"])
        if way == "flip" and data:
            data[at] ^= 1 << rng.randrange(8)
        elif way == "set" and data:
            data[at] = rng.choice([0, 0x7F, 0x80, 0xFF, 0x2D, 0x39])
        elif way == "cut":
            del data[at : at + rng.choice([1, 4, 64])]
        elif way == "repeat":
            data[at:at] = data[at : at + rng.choice([1, 4, 64])]
        else:
            del data[at:]
    path.unlink()  # it may be a link to the demo's
    path.write_bytes(data)


def write_arrays(folder: Path, kind: str) -> Path:
    """Write samples for the demo's model."""
    import numpy as np
    import onnx

    shape = onnx.load(str(folder / "model.onnx")).graph.input[0].type.tensor_type.shape.dim
    values = np.random.default_rng(0).random((8, *(size.dim_value or 8 for size in shape[1:]))).astype(np.float32)
    path = folder / f"data.{kind}"
    if kind == "npy":
        np.save(path, values)
    else:
        np.savez(path, x=values)
    return path


def counts_of(run: Path) -> dict[str, str]:
    """Return the digests of the files that hold a run's counts."""
    names = ("histograms.npz", "statistics.npz")
    return {name: hashlib.sha256((run / name).read_bytes()).hexdigest() for name in names if (run / name).exists()}


def users_files(folder: Path) -> dict[str, str]:
    """Return the digests of all files that are not quantkit's."""
    files = [path for path in folder.rglob("*") if path.is_file() and "run" not in path.relative_to(folder).parts[:1]]
    files.append(folder / MINE)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.exists()}


def prepared(folder: Path) -> None:
    """Make the demo, a compared run of it, and a file of the user's among its artifacts."""
    write_demo(folder)
    for words in (CALIBRATE, VERBS["export"], COMPARE, PASSED_GATE):
        done = subprocess.run([*QUANTKIT, *words], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"quantkit {' '.join(words)} fails undisturbed: {done.stderr}")
    (folder / MINE).write_text("mine\n")


def one_trial(demo: Path, place: Path, seed: int, number: int) -> tuple[str, Failure | None]:
    """Run one trial; return its kind, and what was not as promised."""
    rng = random.Random(f"{seed}:{number}")
    kind = rng.choice(list(KINDS))
    folder = place / f"trial-{number}"
    shutil.copytree(demo, folder)
    before = users_files(folder)
    try:
        KINDS[kind](Trial(folder, rng, counts_of(demo / "run")))
        after = users_files(folder)
        changed = [path for path, digest in before.items() if after.get(path) != digest]
        if changed and kind != "damaged input" and kind != "damaged checkpoint":
            raise Broken(f"files of the user's changed: {changed}")
        return kind, None
    except Broken as error:
        return kind, Failure(kind, number, str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Run trials until the time is over, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trial", type=int, help="repeat this one alone")
    parser.add_argument("--json", type=Path, help="write the summary to this file, too")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    failures: list[Failure] = []
    with tempfile.TemporaryDirectory(prefix="quantkit-campaign-") as place:
        demo = Path(place) / "demo"
        prepared(demo)
        end, number = time.monotonic() + options.seconds, options.trial or 0
        while time.monotonic() < end:
            kind, failure = one_trial(demo, Path(place), options.seed, number)
            counts[kind] += 1
            if failure is not None:
                failures.append(failure)
                print(f"FAILED --seed {options.seed} --trial {number} ({kind}): {failure.what}", flush=True)
            if options.trial is not None:
                break
            number += 1
    for kind in KINDS:
        print(f"{kind}: {counts[kind]} trials, {sum(failure.kind == kind for failure in failures)} failed")
    print(f"{counts.total()} trials with seed {options.seed}, {len(failures)} failed")
    if options.json is not None:
        document = {"seed": options.seed, "trials": dict(counts), "failures": [asdict(failure) for failure in failures]}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
