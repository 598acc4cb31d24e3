"""OpenVINO: IR files by two placements of FakeQuantize, and what truly runs."""

from __future__ import annotations

from quantkit.targets.openvino.settings import PLACEMENTS, OpenVinoSettings
from quantkit.targets.openvino.target import OpenVino

__all__ = ["PLACEMENTS", "OpenVino", "OpenVinoSettings"]
