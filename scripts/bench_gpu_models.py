"""The PyTorch side of bench_gpu.py: exports its models, writes samples to calibrate with, times PyTorch eager FP32.

python3 scripts/bench_gpu_models.py OUT [--models resnet50 bert] [--device cuda]

Needs torch, torchvision, transformers and onnx. Weights are random, of a fixed seed: they serve to measure speed.
Nothing else may run on the GPU, nor much on the CPU, until OUT/eager.json is whole: eager PyTorch waits for the CPU.
Writes OUT/<name>.onnx (opset 17, the newest that TensorRT 8.6 parses; the batch is free), OUT/<name>.npz (8 samples by
input name) and OUT/eager.json. What is there already is kept, unless --fresh.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_gpu_yolov5s import Detector
from torch import Tensor, nn

OPSET = 17
SAMPLES = 8
BATCHES = (1, 32)
WARM_UP = 20
SECONDS = 2.0  # of timing for each batch
FEWEST, MOST = 30, 500  # repeats
SEQUENCE = 128


@dataclass(frozen=True)
class Subject:
    """A model to export, its samples by input name, and what PyTorch is timed with (equal outputs, by description)."""

    exported: nn.Module
    samples: dict[str, Tensor]
    timed: dict[str, nn.Module]


class Encoder(nn.Module):
    """BertModel's own layers and sums, written so that every shape but the batch is a constant in the ONNX file."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.embeddings, self.layers = bert.embeddings, bert.encoder.layer
        self.heads, self.width = bert.config.num_attention_heads, bert.config.hidden_size
        self.register_buffer("positions", torch.arange(SEQUENCE)[None])

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Three of (N, 128) int64 to last_hidden_state (N, 128, 768)."""
        hidden = self.embeddings(input_ids=input_ids, token_type_ids=token_type_ids, position_ids=self.positions)
        mask = (1.0 - attention_mask[:, None, None, :].float()) * -10000.0
        for layer in self.layers:
            own = layer.attention.self
            query, key, value = (self._by_head(part(hidden)) for part in (own.query, own.key, own.value))
            scores = query @ key.transpose(-1, -2) * (self.width // self.heads) ** -0.5 + mask
            mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(-1, SEQUENCE, self.width)
            hidden = layer.attention.output(mixed, hidden)
            hidden = layer.output(layer.intermediate(hidden), hidden)
        return hidden

    def _by_head(self, x: Tensor) -> Tensor:
        return x.view(-1, SEQUENCE, self.heads, self.width // self.heads).transpose(1, 2)


class LastHiddenState(nn.Module):
    """BertModel as people call it."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, **inputs: Tensor) -> Tensor:
        """(N, 128, 768)."""
        return self.bert(**inputs).last_hidden_state


def without_equals(model: nn.Module) -> nn.Module:
    """The model with biases and gains a little apart, as training leaves them: the exporter would share equal ones."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.02 * torch.randn_like(parameter))
    return model


def vision(model: nn.Module, size: int, device: str) -> Subject:
    """A model of images. Two batches set its BatchNorms, so that activations keep within FP16."""
    coarse = torch.nn.functional.interpolate(torch.randn(SAMPLES, 3, 12, 12), (size, size), mode="bicubic")
    images = coarse + 0.2 * torch.randn(SAMPLES, 3, size, size)  # smooth with some noise, as photographs are
    model = without_equals(model).eval().to(device)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
        norm.train()
    with torch.no_grad():
        for half in images.to(device).chunk(2):
            model(half)
    return Subject(model.eval().cpu(), {"images": images}, {"as exported": model})


def resnet50(device: str) -> Subject:
    """torchvision's, 224×224."""
    from torchvision.models import resnet50 as make

    return vision(make(weights=None), 224, device)


def efficientnet_b4(device: str) -> Subject:
    """torchvision's, 380×380."""
    from torchvision.models import efficientnet_b4 as make

    return vision(make(weights=None), 380, device)


def yolov5s(device: str) -> Subject:
    """The detector of bench_gpu_yolov5s.py, 640×640."""
    return vision(Detector(), 640, device)


def bert(device: str) -> Subject:
    """BERT-Base, 128 tokens of which the last ones are padding."""
    from transformers import BertConfig, BertModel

    default = without_equals(BertModel(BertConfig(), add_pooling_layer=False)).eval()
    lengths = torch.linspace(SEQUENCE // 2, SEQUENCE, SAMPLES).round().long()
    mask = (torch.arange(SEQUENCE)[None] < lengths[:, None]).long()
    ids = torch.randint(1000, 30000, (SAMPLES, SEQUENCE)) * mask
    types = (torch.arange(SEQUENCE)[None] >= lengths[:, None] // 2).long() * mask
    samples = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    exported, attention = Encoder(default).eval(), default.config._attn_implementation
    return Subject(exported, samples, {"as exported": exported, f"BertModel, {attention}": LastHiddenState(default)})


MODELS: dict[str, Callable[[str], Subject]] = {f.__name__: f for f in (resnet50, bert, yolov5s, efficientnet_b4)}


def export(subject: Subject, path: Path) -> None:
    """Write the ONNX file whole, and the samples before it, so that both are there when it is."""
    np.savez(path.with_suffix(".npz"), **{name: value.numpy() for name, value in subject.samples.items()})
    example = {name: value[:2] for name, value in subject.samples.items()}
    with torch.no_grad():
        found = subject.exported(*example.values())
    outputs = ["output"] if isinstance(found, Tensor) else [f"output_{number}" for number in range(len(found))]
    temporary = path.with_suffix(".part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the older exporter, the one that writes opset 17 as it is
        torch.onnx.export(
            subject.exported,
            tuple(example.values()),
            str(temporary),
            opset_version=OPSET,
            dynamo=False,
            input_names=list(example),
            output_names=outputs,
            dynamic_axes={name: {0: "batch"} for name in (*example, *outputs)},
        )
    temporary.replace(path)


@torch.inference_mode()
def timed(model: nn.Module, samples: dict[str, Tensor], batch: int, device: str) -> dict[str, float]:
    """Milliseconds of single forward passes on inputs that lie on the device: CUDA events, a clock on the CPU."""
    model = model.to(device)
    rows = torch.arange(batch) % SAMPLES
    inputs = {name: value[rows].to(device) for name, value in samples.items()}
    run = (lambda: model(**inputs)) if len(inputs) > 1 else (lambda: model(*inputs.values()))
    on_gpu = device.startswith("cuda")

    def once() -> float:
        if not on_gpu:
            start = time.perf_counter()
            run()
            return (time.perf_counter() - start) * 1e3
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        run()
        last.record()
        last.synchronize()
        return float(first.elapsed_time(last))

    warm = [once() for _ in range(WARM_UP if on_gpu else 1)]
    repeats = int(np.clip(SECONDS * 1e3 / min(warm), FEWEST, MOST)) if on_gpu else 2
    p50, p90, p99 = np.percentile([once() for _ in range(repeats)], [50, 90, 99])
    return {"p50": float(p50), "p90": float(p90), "p99": float(p99), "repeats": repeats}


def environment(device: str) -> dict[str, Any]:
    """Versions, the GPU, and the settings that decide what FP32 means; all of them PyTorch's defaults."""
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "gpu": torch.cuda.get_device_name(0) if device.startswith("cuda") else "",
        "tf32_in_matmul": torch.backends.cuda.matmul.allow_tf32,
        "tf32_in_cudnn": torch.backends.cudnn.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "measured": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def main() -> None:
    """Export and time each model; one that fails is named, and the others go on. Exits 1 then."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--fresh", action="store_true", help="export and time again what is there")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    record = arguments.out / "eager.json"
    document = json.loads(record.read_text()) if record.is_file() else {"models": {}}
    document["environment"] = environment(arguments.device)
    subjects: dict[str, Subject] = {}
    for name in arguments.models:  # all are timed before any file is there, from which engines would be built meanwhile
        kept = not arguments.fresh and (arguments.out / f"{name}.onnx").is_file()
        if kept and "batches" in document["models"].get(name, {}):
            continue
        subject = None
        try:
            torch.manual_seed(0)
            subject = MODELS[name](arguments.device)
            batches = {
                str(batch): {
                    how: timed(m, subject.samples, batch, arguments.device) for how, m in subject.timed.items()
                }
                for batch in arguments.batches
            }
            parameters = sum(p.numel() for p in subject.exported.parameters())
            document["models"][name] = {"parameters": parameters, "batches": batches}
            subjects[name] = subject
        except Exception as error:  # noqa: BLE001 - whatever it is, the other models can still be measured
            document["models"][name] = {"error": f"{type(error).__name__}: {error}"}
        for module in subject.timed.values() if subject else ():
            module.cpu()  # the next model is timed on an empty GPU
        record.write_text(json.dumps(document, indent=1))
        print(name, json.dumps(document["models"][name]), flush=True)
    for name, subject in subjects.items():
        try:
            export(subject, arguments.out / f"{name}.onnx")
        except Exception as error:  # noqa: BLE001 - whatever it is, the other models can still be measured
            document["models"][name]["error"] = f"{type(error).__name__}: {error}"
            print(name, document["models"][name]["error"], flush=True)
    record.write_text(json.dumps(document, indent=1))
    failed = any("error" in document["models"].get(name, {}) for name in arguments.models)
    sys.exit(failed)


if __name__ == "__main__":
    main()
