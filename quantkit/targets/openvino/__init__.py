"""OpenVINO: IR files by two placements of FakeQuantize, and what truly runs.

``target.py`` is the target; ``qdq.py`` its dialect, ``nncf/`` the second placement, the rest what its devices need.
May import what every target may; see ``quantkit.targets``.
"""

from __future__ import annotations

from quantkit.targets.openvino.settings import PLACEMENTS, OpenVinoSettings
from quantkit.targets.openvino.target import OpenVino

__all__ = ["PLACEMENTS", "OpenVino", "OpenVinoSettings"]
