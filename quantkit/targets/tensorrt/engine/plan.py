"""How an engine of one precision is to be built with one version of TensorRT: decided before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from quantkit.core.errors import BadConfig, TargetRefuses
from quantkit.core.record import Record

Mode = Literal["auto", "implicit", "explicit", "strong"]
STRONG_FILE = "strongly_typed.onnx"  # of the exported INT8 artifact: Q/DQ over FP16
FIRST_STRONG = (10, 0)  # strongly typed networks, from FP16 and Q/DQ artifacts
FIRST_ONLY_STRONG = (11, 0)  # what 11 removed: BuilderFlag.INT8 and FP16, set_dynamic_range, calibrators


class BuildSettings(Record):
    """``[build]``: how engines are built.

    ``mode`` says where INT8 comes from. "implicit": dynamic ranges set on every tensor (TensorRT 8.6–10). "explicit":
    the Q/DQ model (8.6–10). "strong": a strongly typed network, from Q/DQ over FP16 (10–11); fp16 comes from an FP16
    model then. "auto" is "strong" from TensorRT 11 and "explicit" before. ``shapes`` are those of ``--shape``, the
    optimization profile of dynamic inputs. ``workspace_mb`` bounds the builder's and engine's scratch memory (MiB;
    None: TensorRT's default, all there is). ``optimization_level`` is 0 (fast to build) to 5 (None: TensorRT's 3).
    """

    mode: Mode = "auto"
    shapes: list[str] = Field(default_factory=list)
    workspace_mb: int | None = Field(default=None, gt=0)
    optimization_level: int | None = Field(default=None, ge=0, le=5)


@dataclass(frozen=True)
class Plan:
    """What goes into the builder.

    ``source`` names the ONNX file: "model" the user's own, "fp16" and "strongly_typed" the typed artifacts, "qdq" the
    Q/DQ one. ``half``, ``int8`` and ``tf32`` are builder flags; ``strong`` the network's. ``ranges`` asks for dynamic
    ranges on every tensor.
    """

    precision: str
    mode: str
    source: Literal["model", "fp16", "qdq", "strongly_typed"]
    half: bool = False
    int8: bool = False
    tf32: bool = False
    strong: bool = False
    ranges: bool = False

    @property
    def folder(self) -> str:
        """The name of the engine's folder, such as "int8-explicit"."""
        return f"{self.precision}-{self.mode}" if self.mode else self.precision


def plan_for(precision: str, mode: Mode, release: tuple[int, int]) -> Plan:
    """The plan for one precision. Raises TargetRefuses when this release of TensorRT cannot do that."""
    if mode == "auto":
        mode = "strong" if release >= FIRST_ONLY_STRONG else "explicit"
    text = ".".join(map(str, release))
    if mode == "strong" and release < FIRST_STRONG:
        raise TargetRefuses(
            f"TensorRT {text} has no strongly typed networks.", "Use --mode explicit, or TensorRT 10 or 11."
        )
    if mode != "strong" and release >= FIRST_ONLY_STRONG:
        raise TargetRefuses(
            f"TensorRT {text} builds strongly typed networks only; {mode} INT8 was removed.",
            "Use --mode strong, or TensorRT 8.6 to 10.",
        )
    strong = mode == "strong"
    if precision in ("fp32", "tf32"):
        # From 11 on every network is strongly typed; a plain FP32 model is one as it is.
        return Plan(precision, "", "model", tf32=precision == "tf32", strong=release >= FIRST_ONLY_STRONG)
    if precision == "fp16":
        return Plan(precision, "strong", "fp16", strong=True) if strong else Plan(precision, "", "model", half=True)
    if precision != "int8":
        raise BadConfig(f"There is no TensorRT engine of precision {precision!r}.", "Use fp32, tf32, fp16 or int8.")
    if strong:
        return Plan(precision, mode, "strongly_typed", strong=True)
    if mode == "implicit":
        return Plan(precision, mode, "model", half=True, int8=True, ranges=True)
    return Plan(precision, mode, "qdq", half=True, int8=True)
