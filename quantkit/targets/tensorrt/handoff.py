"""``trtexec`` lines for the files of a run, and which file is what.

https://docs.nvidia.com/deeplearning/tensorrt/latest/reference/command-line-programs.html; what 11 removed of it:
https://docs.nvidia.com/deeplearning/tensorrt/11.0.0/api/migration/tensorrt-10x-to-11x-trtexec.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from quantkit.core.errors import BadConfig
from quantkit.targets.handoff import Command, HandOff, HandOffRequest, quoted, served, triton_config
from quantkit.targets.tensorrt.engine.plan import STRONG_FILE
from quantkit.targets.tensorrt.engine.shapes import Profile, ShapeRange, profiles_for
from quantkit.targets.tensorrt.opsets import Reads

CACHE_FILE = "calibration.cache"
RANGES_FILE = "dynamic_ranges.txt"
FLOAT_FILE = "fp32.onnx"  # the user's model as the version reads it, where it does not read the model itself
PLAN = "model.plan"  # the name that Triton expects
MEANINGS = {
    "int8/model.onnx": "Q/DQ over FP32: explicit INT8, all of it inside the file",
    f"int8/{STRONG_FILE}": "Q/DQ over FP16: INT8 of strongly typed networks (TensorRT 10 and 11)",
    f"int8/{CACHE_FILE}": "ranges for implicit INT8 of the FP32 model, not of a Q/DQ one (TensorRT 8 to 10)",
    f"int8/{RANGES_FILE}": "the same ranges as name:amax lines, for set_dynamic_range (TensorRT 8 to 10)",
    f"int8/{FLOAT_FILE}": "the FP32 model as this TensorRT reads it; no Q/DQ in it",
    f"fp16/{FLOAT_FILE}": "the FP32 model as this TensorRT reads it, from which --fp16 builds",
    "fp16/model.onnx": "FP16 tensors, FP32 inputs and outputs: FP16 of strongly typed networks; no Q/DQ in it",
}
JETSON = (
    "Jetson: build there, because an engine runs only with the TensorRT release and on the kind of GPU that built it. "
    "trtexec lies in /usr/src/tensorrt/bin; set the clocks with `sudo nvpmodel -m 0` and `sudo jetson_clocks` before "
    "you time. JetPack 5 comes with TensorRT 8.5, JetPack 6.0 with 8.6, 6.1 with 10.3."
)
DLA_NOTE = "The DLA takes INT8 from implicit ranges alone, so the line names the FP32 model and the cache."


def hand_off(request: HandOffRequest, reads: Reads, shapes: Sequence[str]) -> HandOff:
    """Make the hand-off of TensorRT's files.

    Args:
        request: The model, and what is there.
        reads: The version that will read the files, or none.
        shapes: The optimization profile that the settings name, as for ``--shape``.
    """
    there = {request.place(file): file for artifact in request.artifacts for file in artifact.files}
    profile, note = _profile(request, shapes)
    lines = _Lines(request, reads, there, profile)
    largest = max((own.largest[0] for own in profile.values() if own.largest), default=max(request.batches))
    engines = [command for command in lines.builds() if command is not None]
    commands = [*engines, *lines.measurements(), served(request.model, [(f"{lines.measured}.engine", PLAN)])]
    files = {name: MEANINGS[name] for name in MEANINGS if name in there}
    files.setdefault(lines.user, f"the FP32 model that was calibrated, opset {request.model.opset}; no Q/DQ in it")
    if "fp16/model.onnx" in files and not reads.strong:
        files["fp16/model.onnx"] = f"FP16 tensors; {reads.name} builds FP16 from the FP32 model, with --fp16, instead"
    triton = triton_config(request.model, 'platform: "tensorrt_plan"', PLAN, [largest], "KIND_GPU")
    return HandOff(reads.name, files, tuple(commands), (*note, JETSON), triton)


class _Lines:
    """Writes ``trtexec`` lines: ``there`` has the files by their path as seen from the target's folder."""

    def __init__(self, request: HandOffRequest, reads: Reads, there: dict[str, Path], profile: Profile) -> None:
        self._reads, self._there = reads, there
        self._own_model = request.place(request.model.path)
        self._shapes = _shape_options(profile)
        self._best = _shape_option("shapes", {name: own.best for name, own in profile.items()})

    @property
    def user(self) -> str:
        """The FP32 model to build from: the user's own, or what was converted from it."""
        made = (f"{precision}/{FLOAT_FILE}" for precision in ("int8", "fp16"))
        return next((file for file in made if file in self._there), self._own_model)

    def builds(self) -> list[Command | None]:
        """Return the lines that build engines; None for what this version or this run lacks."""
        reads, qdq, cache = self._reads, "int8/model.onnx", f"int8/{CACHE_FILE}"
        weak = "" if reads.version else " (TensorRT 8.6 to 10)"
        strong = "" if reads.version else " (TensorRT 10 and 11)"
        flag = ("--stronglyTyped",) if reads.implicit else ()
        flag_note = "" if reads.version else "TensorRT 11 needs no --stronglyTyped: every network is."
        implicit = reads.implicit and cache in self._there
        return [
            self._build("FP32", self.user, "fp32", "--noTF32"),
            self._build(f"FP16{weak}", self.user, "fp16", "--fp16") if reads.implicit else None,
            self._from(f"FP16, strongly typed{strong}", "fp16/model.onnx", "fp16-strong", flag, flag_note)
            if reads.strong
            else None,
            self._from(f"INT8, explicit: from the Q/DQ model{weak}", qdq, "int8", ("--int8", "--fp16"))
            if reads.implicit
            else None,
            self._from(f"INT8, strongly typed{strong}", f"int8/{STRONG_FILE}", self._typed_engine, flag, flag_note)
            if reads.strong
            else None,
            self._build(
                f"INT8, implicit: from the FP32 model and the cache{weak}",
                self.user,
                "int8-implicit",
                "--int8",
                "--fp16",
                f"--calib={cache}",
            )
            if implicit
            else None,
            self._build(
                f"INT8 on a DLA{weak}",
                self.user,
                "int8-dla",
                "--int8",
                "--fp16",
                f"--calib={cache}",
                "--useDLACore=0",
                "--allowGPUFallback",
                note=DLA_NOTE,
            )
            if implicit
            else None,
        ]

    def measurements(self) -> list[Command]:
        """Return the lines that time an engine and its layers."""
        timed = ["trtexec", f"--loadEngine={self.measured}.engine", *self._best]
        return [
            Command(
                "Time an engine",
                (_line([*timed, "--useCudaGraph", "--useSpinWait", "--warmUp=500", "--duration=10"]),),
                "Add --noDataTransfers for the time on the GPU alone.",
            ),
            Command(
                "Time each layer",
                (
                    _line(
                        [
                            *timed,
                            "--dumpProfile",
                            "--separateProfileRun",
                            f"--exportProfile={self.measured}.profile.json",
                            f"--exportLayerInfo={self.measured}.layers.json",
                        ]
                    ),
                ),
            ),
        ]

    @property
    def measured(self) -> str:
        """The name of the engine that is timed and served: INT8, where there is any."""
        if any(file.startswith("int8/") for file in self._there):
            return "int8"
        return "fp16" if self._reads.implicit else "fp16-strong"

    @property
    def _typed_engine(self) -> str:
        """The engine's name: "int8" where there is no other INT8."""
        return "int8-strong" if self._reads.implicit else "int8"

    def _from(self, purpose: str, file: str, engine: str, flags: Sequence[str], note: str = "") -> Command | None:
        return self._build(purpose, file, engine, *flags, note=note) if file in self._there else None

    def _build(self, purpose: str, file: str, engine: str, *flags: str, note: str = "") -> Command:
        words = ["trtexec", f"--onnx={file}", *flags, *self._shapes]
        words += ["--profilingVerbosity=detailed", f"--saveEngine={engine}.engine"]
        return Command(purpose, (_line(words),), note)


def _profile(request: HandOffRequest, shapes: Sequence[str]) -> tuple[Profile, tuple[str, ...]]:
    """Return the shapes of the run: from the least to the largest batch. Empty if some are not known, with a note."""
    model = request.model
    if all(isinstance(size, int) for own in model.inputs for size in own.shape):
        return {}, ()
    try:
        found = profiles_for(model, shapes, sorted(request.batches), request.seen)
    except BadConfig as error:
        return {}, (f"{error.what} Add --minShapes, --optShapes and --maxShapes to the lines that build.",)
    first, last = found[0], found[-1]
    return {name: ShapeRange(first[name].least, last[name].best, last[name].largest) for name in first}, ()


def _shape_options(profile: Profile) -> list[str]:
    if not profile:
        return []
    kinds = {"minShapes": "least", "optShapes": "best", "maxShapes": "largest"}
    return [
        word
        for option, kind in kinds.items()
        for word in _shape_option(option, {name: getattr(own, kind) for name, own in profile.items()})
    ]


def _shape_option(option: str, shapes: dict[str, tuple[int, ...]]) -> list[str]:
    texts = [f"{_named(name)}:{'x'.join(map(str, shape))}" for name, shape in shapes.items()]
    return [f"--{option}={','.join(texts)}"] if texts else []


def _named(name: str) -> str:
    """Return an input's name as trtexec reads it: in quotes if it holds what separates names."""
    return f"'{name}'" if set(name) & set(":,") else name


def _line(words: Sequence[str]) -> str:
    return " ".join(map(quoted, words))
