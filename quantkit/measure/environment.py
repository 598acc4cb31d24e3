"""The machine and the package versions that a measurement comes from."""

from __future__ import annotations

import platform
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version

from quantkit.core.comparison import Environment
from quantkit.targets.cpu import cpu_name, usable_cores
from quantkit.version import __version__

PACKAGES = (
    "numpy",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "tensorrt",
    "tensorrt-rtx-cu13-bindings",
    "cuda-bindings",
)


def environment(gpu: str = "") -> Environment:
    """Describe this machine now. ``gpu`` names the GPU that was measured on."""
    return Environment(
        quantkit=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        cpu=cpu_name(),
        cores=usable_cores(),
        packages=installed(PACKAGES),
        gpu=gpu,
        measured=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def installed(names: tuple[str, ...]) -> dict[str, str]:
    """Return the versions of packages that are installed, or imported from elsewhere, such as an unpacked TensorRT."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            if stated := getattr(sys.modules.get(name), "__version__", ""):
                found[name] = str(stated)
    return found
