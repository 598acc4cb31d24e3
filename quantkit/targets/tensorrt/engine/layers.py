"""The layers of a built engine, as the engine inspector reports them, with common names for precisions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from quantkit.targets.base import summarize_precisions
from quantkit.targets.tensorrt.engine.record import EngineLayer

# Words in the inspector's format descriptions, such as "Thirty-two wide channel vectorized row major Int8 format".
PRECISION_WORDS = {
    "int8": "int8",
    "fp16": "f16",
    "half": "f16",
    "bf16": "bf16",
    "bfloat16": "bf16",
    "fp32": "f32",
    "float": "f32",
    "fp8": "fp8",
    "int32": "i32",
    "bool": "bool",
}
NOT_TOLD = "not told"  # for layers that Myelin fused into one; their inputs may be token numbers
WEIGHTED = ("conv", "gemm", "matrix", "matmul", "fully", "deconv", "myelin")
OTHER_PROFILE = re.compile(r" \[profile [1-9]\d*\]$")  # the suffix of layers of further profiles


def engine_layers(document: Mapping[str, Any]) -> tuple[EngineLayer, ...]:
    """Return the first profile's layers from the document of ``get_engine_information(JSON)``.

    A layer's precision is that of its first input. TensorRT does not tell the precision of a subgraph that Myelin
    compiled.
    """
    found = []
    for layer in document.get("Layers", ()):
        if OTHER_PROFILE.search(layer if isinstance(layer, str) else str(layer.get("Name", ""))):
            continue
        if isinstance(layer, str):  # built without detailed profiling verbosity
            found.append(EngineLayer(name=layer, kind="", precision=""))
            continue
        formats = [_precision(tensor) for tensor in (*layer.get("Inputs", ()), *layer.get("Outputs", ()))]
        kind = str(layer.get("LayerType", ""))
        precision = NOT_TOLD if kind == "Myelin" else next((name for name in formats if name), "")
        found.append(EngineLayer(name=str(layer.get("Name", "")), kind=kind, precision=precision))
    return tuple(found)


def executed_precision(layers: Sequence[EngineLayer]) -> str:
    """Return the precision that the weighted layers run in, such as "int8 52, f16 1"."""
    counts = Counter(
        layer.precision for layer in layers if layer.precision and any(word in layer.kind.lower() for word in WEIGHTED)
    )
    return summarize_precisions(counts)


def _precision(tensor: Mapping[str, Any]) -> str:
    words = str(tensor.get("Format/Datatype", "")).lower().replace("/", " ").split()
    return next((name for word, name in PRECISION_WORDS.items() if word in words), "")
