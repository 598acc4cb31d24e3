"""Runs the contestants of bench_calibration.py in turns, each in a process of its own, and keeps what each measured."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PEERS = Path(__file__).with_name("bench_peers.py")
QUANTIZABLE = "quantkit --tensors quantizable"
MB = 1e6


@dataclass
class Contestant:
    """One row: its command, and what each round measured. ``baseline``: bytes of the process with the model loaded."""

    name: str
    samples: int
    command: list[str]
    baseline: int
    seconds: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    notes: list[dict[str, float]] = field(default_factory=list)
    failure: str = ""

    @property
    def growth(self) -> list[float]:
        """Peak over baseline in MB, for each round."""
        return [(peak - self.baseline) / MB for peak in self.peaks]

    @property
    def forward(self) -> list[float]:
        """Seconds of the loop alone, where the contestant times one."""
        return [note["forward_s"] for note in self.notes if "forward_s" in note]


class Bench:
    """Runs commands in a temporary folder, so that no settings of the current folder are read and nothing is left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.result = folder / "result.json"
        self.run_folder = folder / "run"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("QUANTKIT_")} | {"NO_COLOR": "1"}

    def measured(self, command: Sequence[str]) -> tuple[float, int, str]:
        """Wall seconds from start to end, peak resident bytes (the largest process), and why it failed, or nothing."""
        with (self.folder / "output.txt").open("w+") as output:
            start = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, *command], cwd=self.folder, env=self.environment, stdout=output, stderr=output
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            process.returncode = code = os.waitstatus_to_exitcode(status)
            output.seek(0)
            last = " ".join([line.strip() for line in output if line.strip()][-3:])
        failure = "" if code == 0 else f"killed by signal {-code}, for want of memory?" if code < 0 else last
        return seconds, usage.ru_maxrss * 1024, failure

    def noted(self, *command: str) -> tuple[dict[str, Any], str]:
        """What bench_peers.py noted for this command, and why it failed, or nothing."""
        *_, failure = self.measured([str(PEERS), *command, "--result", str(self.result)])
        return ({} if failure else json.loads(self.result.read_text())), failure

    def contestant(self, name: str, model: Path, data: Path, samples: int) -> Contestant:
        """Ready to run; the baseline is measured here, which also warms the disk's cache for every one alike."""
        work = self.folder / f"work-{samples}.json"
        if not work.exists():
            chosen, failure = self.noted("select", str(model), str(data), str(samples))
            if failure:
                sys.exit(f"The images cannot be chosen: {failure}")
            work.write_text(json.dumps(chosen))
        peer = "quantkit" if name == QUANTIZABLE else name
        loaded, failure = self.noted("ready", peer, str(work))
        if failure:
            print(f"{name} failed: {failure}", file=sys.stderr)
        if peer == "quantkit":
            command = ["-m", "quantkit", "calibrate", str(model), "--data", str(data), "--samples", str(samples)]
            command += ["--method", "entropy", "--no-export", "-o", str(self.run_folder), "--fresh"]
            command += ["--tensors", "quantizable"] if name == QUANTIZABLE else []
        else:
            command = [str(PEERS), "calibrate", peer, str(work), "--result", str(self.result)]
        return Contestant(name, samples, command, loaded.get("rss_bytes", 0), failure=failure)

    def run(self, contestants: Sequence[Contestant], repeats: int) -> None:
        """Round by round; who fails is out."""
        for number in range(repeats):
            for contestant in contestants:
                if contestant.failure:
                    continue
                print(f"round {number + 1} of {repeats}: {contestant.name}, {contestant.samples}", file=sys.stderr)
                self.result.unlink(missing_ok=True)
                shutil.rmtree(self.run_folder, ignore_errors=True)
                seconds, peak, contestant.failure = self.measured(contestant.command)
                if contestant.failure:
                    print(f"{contestant.name} failed: {contestant.failure}", file=sys.stderr)
                    continue
                contestant.seconds.append(seconds)
                contestant.peaks.append(peak)
                contestant.notes.append(json.loads(self.result.read_text()) if self.result.exists() else {})

    def has_tensors_option(self) -> bool:
        """True if this quantkit knows --tensors."""
        self.measured(["-m", "quantkit", "calibrate", "--help"])
        return "--tensors" in (self.folder / "output.txt").read_text()
