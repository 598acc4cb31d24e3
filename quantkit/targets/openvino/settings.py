"""``[openvino]``: how IR is made and run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from quantkit.core.record import Record

Placement = Literal["qdq", "nncf"]
PLACEMENTS: tuple[Placement, ...] = ("qdq", "nncf")


class OpenVinoSettings(Record):
    """``[openvino]``.

    ``placement`` says who decides where an INT8 IR quantizes: "qdq" takes quantkit's own Q/DQ, "nncf" NNCF's
    FakeQuantize; ``compare`` measures both where both are named. The next three are NNCF's: ``preset`` "mixed" gives
    asymmetric activations, "performance" symmetric ones; ``quantize_for`` is the device whose rules decide;
    ``model_type`` "transformer" adds SmoothQuant and its patterns, "auto" looks for attention in the graph.

    ``hint`` is what the device is asked to be best at. ``threads`` and ``pinning`` are the CPU's (None: OpenVINO
    decides). ``shapes`` "fixed" compiles a dynamic model for each shape that it is fed, "dynamic" once for all.
    ``cache`` keeps compiled models in the run, so that they load faster the next time.
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
