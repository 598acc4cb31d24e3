"""Proves that a restructuring changed no behaviour: the same work with two checkouts gives the same files and words.

    python scripts/check_same.py BEFORE_CHECKOUT [--only SUBJECT...] [--keep DIR] [--shared DIR] [--python PATH]

AFTER is the checkout that this file lies in. Both sides run at the same time, a core each, with the same interpreter;
each needs its compiled counting kernel. Subjects are the demo, two models of SHARED, and the graphs of
check_same_graphs.py. Exits 0 when all is the same, 1 when anything differs, 2 for bad usage.

Every file must be equal byte for byte, but for what check_same_files.py and check_same_meant.py name.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import check_same_graphs
from check_same_files import difference
from check_same_meant import MENDED

METHODS = (
    "minmax", "moving-average", "percentile", "percentile-asymmetric", "entropy", "entropy-asymmetric", "mse",
    "mse-asymmetric", "mse-robust",
)  # fmt: skip
EXPORTED = ("entropy", "minmax")  # beside mse-robust, the default
BOTH_PLACEMENTS = ("--placement", "qdq", "--placement", "nncf")
AFTER = Path(__file__).resolve().parents[1]
SIDES = ("old", "new")  # folders of BEFORE and AFTER: as long, so that tables are as wide
IMAGES, ALL = "40", "120"
LONGEST = 600  # seconds that a side may take for one subject


@dataclass
class Subject:
    """What is calibrated: a model, its data as --data takes it, and which nodes one run leaves out."""

    name: str
    model: str
    data: str
    exclude: str
    samples: str = IMAGES
    is_demo: bool = False

    def steps(self) -> list[list[str]]:
        """What each side does, for check_same_side.py."""
        m, data = self.model, ["--data", self.data, "--samples", self.samples]
        steps = [["demo!", "demo"]] if self.is_demo else []
        steps += [
            ["inspect", m, "--json"],
            ["calibrate", m, *data, *BOTH_PLACEMENTS, "-o", "run"],
            ["inspect", "run", "--json"],
            ["copy", "run", "solved"],
        ]
        for method in METHODS:
            steps.append(["calibrate", "-o", "solved", "--method", method, "--no-export", "--json"])
            steps.append(["copy", "solved/calibration.json", f"methods/{method}/calibration.json"])
            if method in EXPORTED:
                steps.append(["export", "solved", *BOTH_PLACEMENTS, "-o", f"exports/{method}"])
        steps += [
            ["calibrate", m, *data, "--exclude", self.exclude, *BOTH_PLACEMENTS, "-o", "excluded"],
            ["calibrate", m, *data, "--tensors", "quantizable", "-o", "quantizable"],
            ["calibrate", m, *data, "--batch-size", "4", "--method", "entropy", "--no-export", "-o", "batched"],
            *(["calibrate", m, *data, "--shard", f"{n}/2", "-o", f"part-{n}"] for n in (1, 2)),
            ["merge", "part-1", "part-2", "-o", "merged"],
            ["api", m, self.data, self.samples, "api"],
        ]
        made = "run/artifacts/tensorrt/int8"
        for source, to, file in (
            (f"{made}/calibration.cache", "qdq", "qdq.onnx"),
            (f"{made}/calibration.cache", "ranges", "ranges.txt"),
            (f"{made}/calibration.cache", "tensors-data", "tensors-data.json"),
            (f"{made}/calibration.cache", "json", "run"),
            (f"{made}/model.onnx", "cache", "of-pairs.cache"),
            ("run/artifacts/onnxruntime/int8/model.onnx", "tensors-data", "of-pairs.json"),
            ("converted/tensors-data.json", "cache", "again.cache"),
            ("converted/ranges.txt", "cache", "of-ranges.cache"),
        ):
            steps.append(["convert", source, "--model", m, "--to", to, "-o", f"converted/{file}", "--json"])
        for file in (f"{made}/model.onnx", f"{made}/strongly_typed.onnx", "run/artifacts/onnxruntime/int8/model.onnx"):
            steps.append(["lint", file, "--json"])
        if self.is_demo:
            both = ["--target", "onnxruntime", "--target", "openvino", *BOTH_PLACEMENTS, "--precision", "int8"]
            steps.append(["compare!", "run", "--data", "demo/imgs/eval", "--samples", "20", *both])
        return steps


@dataclass
class Outcome:
    """What came of a subject. ``added``: key paths that only AFTER's measured files have."""

    subject: str
    equal: int = 0
    refused: int = 0
    different: dict[str, str] = field(default_factory=dict)  # file to the first differing place
    mended: dict[str, str] = field(default_factory=dict)  # file to the reason
    added: list[str] = field(default_factory=list)

    def differs(self, file: str, place: str) -> None:
        """Note a difference, as one that is meant if MENDED says so."""
        for subject, pattern, reason in MENDED:
            if fnmatchcase(self.subject, subject) and fnmatchcase(file, pattern):
                self.mended[file] = reason
                return
        self.different[file] = place


def compare(outcome: Outcome, folders: Sequence[Path]) -> None:
    """Compare all files of the two sides' folders."""
    found = [{p.relative_to(f).as_posix(): p for p in f.rglob("*") if p.is_file()} for f in folders]
    for file in sorted(found[0].keys() | found[1].keys()):
        if file not in found[0] or file not in found[1]:
            outcome.differs(file, f"only {'BEFORE' if file in found[0] else 'AFTER'} has it")
            continue
        pair = found[0][file], found[1][file]
        place, added = difference(pair, folders)
        outcome.added += [f"{file}: {path}" for path in added]
        if place is None:
            outcome.equal += 1
        else:
            outcome.differs(file, place)
        if file.startswith("said/"):
            said = pair[0].read_text()
            outcome.refused += not said.startswith(("exit 0", "exit 1")) + said.count("\nWarning: No ")


def subjects(folder: Path, shared: Path) -> Iterator[Subject]:
    """All of them; the graphs are written into ``folder``."""
    yield Subject("demo", "demo/model.onnx", "demo/imgs/calib", "/stage1/stage1.0/*", ALL, is_demo=True)
    images = shared / "images/cifar10/calib.txt"
    for name, exclude in (("mobilenet_v2", "/features/features.3/*"), ("resnet20", "/layer1/layer1.1/*")):
        model = shared / "models" / f"{name}_cifar10.onnx"
        if model.is_file() and images.is_file():
            yield Subject(name, str(model), str(images), exclude)
        else:
            print(f"{name}: skipped, for there is no {model} or no {images}", file=sys.stderr)
    for name in check_same_graphs.GRAPHS:
        model, data = check_same_graphs.write(name, folder)
        yield Subject(name, str(model), str(data), "*[24]_out", ALL)


def run(subject: Subject, folder: Path, checkouts: Sequence[Path], python: str) -> Outcome:
    """Let both sides do the work, at the same time, and compare."""
    outcome = Outcome(subject.name)
    steps = folder / f"{subject.name}.json"
    steps.write_text(json.dumps(subject.steps()))
    folders, processes = [], []
    cores = sorted(os.sched_getaffinity(0))
    for number, (side, checkout) in enumerate(zip(SIDES, checkouts, strict=True)):
        own = folder / side / subject.name
        own.mkdir(parents=True)
        core = str(cores[number]) if len(cores) > 1 else "-1"
        command = [python, str(AFTER / "scripts/check_same_side.py"), str(checkout), str(steps), core]
        with (folder / f"{subject.name}.{side}.log").open("w") as log:
            environment = side_environment(checkout, folder)
            processes.append(subprocess.Popen(command, cwd=own, env=environment, stdout=log, stderr=log))
        folders.append(own)
    for side, who, process in zip(SIDES, ("BEFORE", "AFTER"), processes, strict=True):
        try:
            process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            process.kill()
        if process.wait():
            said = (folder / f"{subject.name}.{side}.log").read_text().strip().splitlines()
            outcome.differs(f"({who})", f"ended with {process.returncode}: {' / '.join(said[-2:])}")
    compare(outcome, folders)
    return outcome


def side_environment(checkout: Path, folder: Path) -> Mapping[str, str]:
    """Without the caller's settings; bytecode goes elsewhere, so that the checkouts stay as they are."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("QUANTKIT_", "GITHUB_", "PYTHON"))}
    own = {"PYTHONPATH": str(checkout), "PYTHONUTF8": "1", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    return kept | own | {"NO_COLOR": "1", "COLUMNS": "120"}


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """The table, and a line for each difference."""
    row = "{:<20} {:>8} {:>6} {:>9} {:>7} {:>7}"
    print(row.format("subject", "compared", "equal", "different", "mended", "refused"))
    counts = [(o.equal, len(o.different), len(o.mended), o.refused) for o in outcomes]
    total = [sum(column) for column in zip(*counts, strict=True)]
    names = [outcome.subject for outcome in outcomes]
    for name, (equal, different, mended, refused) in zip([*names, "all"], [*counts, total], strict=True):
        print(row.format(name, equal + different + mended, equal, different, mended, refused))
    for outcome in outcomes:
        for file, place in outcome.different.items():
            print(f"different: {outcome.subject}: {file}: {place}")
        for file, reason in outcome.mended.items():
            print(f"mended: {outcome.subject}: {file}: {reason}")
        for path in outcome.added:
            print(f"added: {outcome.subject}: {path}")


def main() -> int:
    """Run the chosen subjects; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout from before the restructuring")
    parser.add_argument("--only", nargs="+", metavar="SUBJECT", help="some subjects")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="a new folder in which the outputs stay")
    parser.add_argument("--shared", type=Path, default=AFTER.parent / "shared", help="with models/ and images/")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of both sides")
    arguments = parser.parse_args()
    checkouts = [arguments.before.resolve(), AFTER]
    for checkout in checkouts:
        if not (checkout / "quantkit").is_dir():
            parser.error(f"{checkout} is no checkout of quantkit")
        if not any((checkout / "quantkit").rglob("_count*.so")):
            print(f"{checkout} lacks the compiled kernel: run pip install -e . there", file=sys.stderr)
            return 1
    if arguments.keep and arguments.keep.exists():
        parser.error(f"{arguments.keep} exists")
    with tempfile.TemporaryDirectory(prefix="check-same-") as temporary:
        folder = (arguments.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        chosen = list(subjects(folder, arguments.shared.resolve()))
        unknown = set(arguments.only or ()) - {subject.name for subject in chosen}
        if unknown:
            parser.error(f"no subject {', '.join(sorted(unknown))}; there are {', '.join(s.name for s in chosen)}")
        outcomes = []
        for subject in chosen:
            if arguments.only and subject.name not in arguments.only:
                continue
            start = time.monotonic()
            outcomes.append(run(subject, folder, checkouts, arguments.python))
            state = f"{len(outcomes[-1].different)} different" if outcomes[-1].different else "the same"
            print(f"{subject.name}: {state}, {time.monotonic() - start:.1f} s", file=sys.stderr)
    print_outcomes(outcomes)
    return int(any(outcome.different for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
