"""``[openvino]``: how IR is made and run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from quantkit.core.record import Record

Placement = Literal["qdq", "nncf"]
PLACEMENTS: tuple[Placement, ...] = ("qdq", "nncf")


class OpenVinoSettings(Record):
    """``[openvino]``: how IR is made and run.

    Attributes:
        placement: What places the FakeQuantize of an INT8 IR: "qdq" for quantkit's own Q/DQ, "nncf" for NNCF.
            ``compare`` measures both if both are named.
        preset: For NNCF: "mixed" has asymmetric activations, "performance" symmetric ones.
        quantize_for: For NNCF: the device whose rules apply.
        model_type: For NNCF: "transformer" adds SmoothQuant and NNCF's patterns for transformers; "auto" looks for
            attention in the graph.
        hint: What the device optimizes for.
        threads: The number of threads of the CPU; None lets OpenVINO decide.
        pinning: True to pin the CPU's threads; None lets OpenVINO decide.
        shapes: "fixed" compiles a dynamic model for each shape that it is run with, "dynamic" once for all shapes.
        cache: True to keep compiled models in the run, so that they load faster the next time.
    """

    placement: list[Placement] = Field(default=["qdq"], min_length=1)
    preset: Literal["mixed", "performance"] = "mixed"
    quantize_for: Literal["ANY", "CPU", "CPU_SPR", "GPU", "NPU"] = "CPU"
    model_type: Literal["auto", "transformer", "other"] = "auto"
    hint: Literal["latency", "throughput"] = "latency"
    threads: int | None = Field(default=None, gt=0)
    pinning: bool | None = None
    shapes: Literal["fixed", "dynamic"] = "fixed"
    cache: bool = False

    @field_validator("placement")
    @classmethod
    def _once_each(cls, value: list[Placement]) -> list[Placement]:
        return list(dict.fromkeys(value))
