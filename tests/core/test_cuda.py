"""Whether a GPU may be here is known without any package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from quantkit.core.cuda import driver_is_here, select
from quantkit.core.errors import BackendMissing


@pytest.mark.skipif(driver_is_here(), reason="there is a driver here")
def test_without_a_driver_no_package_is_asked_for() -> None:
    with pytest.raises(BackendMissing, match=r"cuda:0") as error:
        select("cuda:0")
    assert "pip install" not in str(error.value)


def test_the_driver_is_the_one_that_nvidia_smi_asks() -> None:
    try:
        shown = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        assert not Path("/proc/driver/nvidia/version").exists() or driver_is_here()
        return
    assert driver_is_here() or "GPU 0" not in shown.stdout


def test_it_loads_no_package() -> None:
    code = "import sys; from quantkit.core import cuda; cuda.driver_is_here(); sys.exit('cuda.bindings' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
