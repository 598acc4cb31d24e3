"""``benchmark_app`` lines for the IR of a run.

https://docs.openvino.ai/2025/get-started/learn-openvino/openvino-samples/benchmark-tool.html
"""

from __future__ import annotations

from quantkit.targets.handoff import Command, HandOff, HandOffRequest, quoted, served, triton_config

MEANINGS = {
    "fp32": "IR in FP32",
    "fp16": "IR with FP16 weights, computed as the device does",
    "int8": "IR with FakeQuantize: INT8",
}
SECONDS = 15


def hand_off(request: HandOffRequest) -> HandOff:
    """Make the hand-off of OpenVINO's files."""
    files = {request.place(own.path): own for own in request.artifacts}
    dynamic = any(isinstance(size, str) for one in request.model.inputs for size in one.shape)
    shapes = {one.name: request.shape(one, max(request.batches)) for one in request.model.inputs}
    known = all(isinstance(size, int) for shape in shapes.values() for size in shape)
    text = ",".join(f"{name}[{','.join(map(str, shape))}]" for name, shape in shapes.items())
    shape = ["-shape", quoted(text)] if dynamic and known else []
    note = "" if known or not dynamic else "Add -shape INPUT[SIZES] with numbers for the model's dynamic sizes."

    def lines(*options: str) -> tuple[str, ...]:
        made = []
        for path, own in files.items():
            plain = ["-infer_precision", "f32"] if own.precision == "fp32" else []  # else bf16 where the CPU has it
            made.append(" ".join(["benchmark_app", "-m", quoted(path), "-d", "CPU", *shape, *plain, *options]))
        return tuple(made)

    chosen = [path for path, own in files.items() if own.precision == "int8"] or list(files)
    commands = (
        Command("Latency", lines("-hint", "latency", "-t", str(SECONDS)), note),
        Command("Throughput", lines("-hint", "throughput", "-t", str(SECONDS)), note),
        Command(
            "Time each layer",
            lines("-hint", "latency", "-niter", "100", "-report_type", "detailed_counters", "-report_folder", "."),
            note,
        ),
        served(request.model, [(chosen[0], "model.xml"), (chosen[0].removesuffix("xml") + "bin", "model.bin")]),
    )
    told = {path: MEANINGS[own.precision] + (f", {own.variant}" if own.variant else "") for path, own in files.items()}
    triton = triton_config(request.model, 'backend: "openvino"', "model.xml", request.batches, "KIND_CPU")
    return HandOff("OpenVINO", told, commands, triton=triton)
