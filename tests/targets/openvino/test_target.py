from __future__ import annotations

import pytest

from quantkit.targets.openvino import OpenVino
from tests.targets.template import RunnableTarget

pytest.importorskip("openvino")


@pytest.mark.openvino
class TestOpenVino(RunnableTarget):
    target = OpenVino()
