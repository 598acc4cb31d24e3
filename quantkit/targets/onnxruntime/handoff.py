"""How the files of a run are timed, computed and served by onnxruntime."""

from __future__ import annotations

from quantkit.targets.handoff import Command, HandOff, HandOffRequest, quoted, served, triton_config

MEANINGS = {
    "fp32": "the FP32 model that was calibrated",
    "fp16": "FP16, with FP32 inputs and outputs",
    "int8": "Q/DQ over FP32, which onnxruntime fuses to integer kernels",
}


def hand_off(request: HandOffRequest) -> HandOff:
    """Make the hand-off of onnxruntime's files."""
    own = {artifact.precision: request.place(artifact.path) for artifact in request.artifacts}
    files = {**own, "fp32": request.place(request.model.path)}
    chosen = files.get("int8", files["fp32"])
    batch = max(request.batches)
    inputs = {one.name: (request.shape(one, batch), one.dtype) for one in request.model.inputs}
    feeds = ", ".join(f"{name!r}: np.zeros({shape!r}, np.{_numpy(dtype)})" for name, (shape, dtype) in inputs.items())
    unknown = [size for shape, _ in inputs.values() for size in shape if isinstance(size, str)]
    python = (
        "import time",
        "import numpy as np",
        "import onnxruntime as ort",
        f"session = ort.InferenceSession({chosen!r}, providers=['CPUExecutionProvider'])",
        f"feeds = {{{feeds}}}",
        "outputs = session.run(None, feeds)",
        "times = []",
        "for _ in range(100):",
        "    start = time.perf_counter()",
        "    session.run(None, feeds)",
        "    times.append(time.perf_counter() - start)",
        "print(f'p50 {1e3 * np.median(times):.3f} ms')",
    )
    perf = [
        f"onnxruntime_perf_test -I -e cpu -m times -r 200 {quoted(files[precision])}"
        for precision in ("fp32", "fp16", "int8")
        if precision in files
    ]
    note = f"Put numbers for {', '.join(map(str, unknown))}." if unknown else "Feed an input of yours for zeros."
    commands = (
        Command("Compute and time in Python", python, note, "python"),
        Command(
            "Time with onnxruntime's own tool",
            tuple(perf),
            "It is built from source with onnxruntime, not in its wheel.",
        ),
        served(request.model, [(chosen, "model.onnx")]),
    )
    triton = triton_config(request.model, 'backend: "onnxruntime"', "model.onnx", request.batches, "KIND_CPU")
    told = {path: MEANINGS[precision] for precision, path in sorted(files.items())}
    return HandOff("ONNX Runtime", told, commands, triton=triton)


def _numpy(dtype: str) -> str:
    return "bool_" if dtype == "bool" else dtype
