"""Decides how an engine of one precision is built with one version of TensorRT, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from quantkit.core.errors import BadConfig, TargetRefuses
from quantkit.core.record import Record

Mode = Literal["auto", "implicit", "explicit", "strong"]
STRONG_FILE = "strongly_typed.onnx"  # a file of the exported INT8 artifact: Q/DQ over FP16
FIRST_STRONG = (10, 0)  # the first with strongly typed networks, from FP16 and Q/DQ artifacts
FIRST_ONLY_STRONG = (11, 0)  # the first without BuilderFlag.INT8 and FP16, set_dynamic_range and calibrators


class BuildSettings(Record):
    """``[build]``: how engines are built.

    Attributes:
        mode: Where INT8 comes from. "implicit": dynamic ranges set on every tensor (TensorRT 8.6–10). "explicit": the
            Q/DQ model (8.6–10). "strong": a strongly typed network, from Q/DQ over FP16 (10–11); fp16 then comes from
            an FP16 model. "auto" is "strong" since TensorRT 11 and "explicit" before.
        shapes: The optimization profile of dynamic inputs, as for ``--shape``.
        workspace_mb: The largest scratch memory of the builder and the engine in MiB; None means TensorRT's default,
            all there is.
        optimization_level: 0 (fast to build) to 5; None means TensorRT's default, 3.
        compute_capabilities: The GPUs that TensorRT for RTX builds for, such as "8.6"; without any, all that it knows
            from 8.0 on.
        sparse: True to let the builder choose kernels for weights that are 2:4 sparse.
        plugins: Libraries of TensorRT plugins, for operators of one's own; loaded for building and for running.
    """

    mode: Mode = "auto"
    shapes: list[str] = Field(default_factory=list)
    workspace_mb: int | None = Field(default=None, gt=0)
    optimization_level: int | None = Field(default=None, ge=0, le=5)
    compute_capabilities: list[str] = Field(default_factory=list)
    sparse: bool = False
    plugins: list[Path] = Field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """How an engine is built.

    Attributes:
        precision: The precision.
        mode: Where INT8 comes from; empty if there is no choice.
        source: The ONNX file: "model" for the user's own, "fp16" and "strongly_typed" for the typed artifacts, "qdq"
            for the Q/DQ one.
        half: The builder's FP16 flag.
        int8: The builder's INT8 flag.
        tf32: The builder's TF32 flag.
        strong: True for a strongly typed network.
        ranges: True to set dynamic ranges on every tensor.
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


def plan_for(precision: str, mode: Mode, release: tuple[int, int], title: str = "") -> Plan:
    """Make the plan for one precision.

    Args:
        precision: The precision.
        mode: Where INT8 comes from.
        release: The version of TensorRT, as (major, minor), whose interface the library has.
        title: The library's name and version for people; TensorRT and its release if it is not given.

    Returns:
        The plan.

    Raises:
        TargetRefuses: This release of TensorRT does not support the mode.
        BadConfig: There is no such precision.
    """
    if mode == "auto":
        mode = "strong" if release >= FIRST_ONLY_STRONG else "explicit"
    title = title or f"TensorRT {release[0]}.{release[1]}"
    if mode == "strong" and release < FIRST_STRONG:
        raise TargetRefuses(f"{title} has no strongly typed networks.", "Use the mode explicit, or TensorRT 10 or 11.")
    if mode != "strong" and release >= FIRST_ONLY_STRONG:
        raise TargetRefuses(
            f"{title} builds strongly typed networks only; {mode} INT8 was removed.",
            "Use the mode strong, or TensorRT 8.6 to 10.",
        )
    strong = mode == "strong"
    if precision in ("fp32", "tf32"):
        # Since 11, every network is strongly typed; a plain FP32 model already is one.
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
