"""OpenVINO: IR files with two placements of FakeQuantize, and the precision that layers really run in.

``target.py`` is the target, ``qdq.py`` its dialect and ``nncf/`` the second placement; the rest serves its devices.
May import what every target may; see ``quantkit.targets``.
"""

from __future__ import annotations

from quantkit.targets.openvino.settings import PLACEMENTS, OpenVinoSettings
from quantkit.targets.openvino.target import OpenVino

__all__ = ["PLACEMENTS", "OpenVino", "OpenVinoSettings"]
