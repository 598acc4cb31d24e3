"""Libraries of TensorRT plugins: operators that TensorRT itself does not have."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

from quantkit.core.errors import BadConfig
from quantkit.core.wording import path_meant
from quantkit.targets.tensorrt.engine.libraries import Library


def load_plugins(library: Library, files: Sequence[Path]) -> None:
    """Load TensorRT's own plugins, such as those for NMS, and libraries of others into this process.

    Args:
        library: The library of the engine.
        files: The shared libraries.

    Raises:
        BadConfig: One is not there, or does not load.
    """
    trt = library.tensorrt()
    trt.init_libnvinfer_plugins(library.messages(), "")
    registry = trt.get_plugin_registry()
    for file in files:
        hint = "Give the shared library that was built for this release of TensorRT (--plugin, plugins=)."
        if not file.is_file():
            raise BadConfig(f"There is no plugin library {file}.", f"{path_meant(file)}{hint}")
        try:
            loaded = ctypes.CDLL(str(file.absolute()))  # older libraries register their plugins themselves
        except OSError as error:
            raise BadConfig(f"The plugin library {file} does not load ({error}).", hint) from error
        exports = hasattr(loaded, "getCreators") or hasattr(loaded, "getPluginCreators")
        if exports and hasattr(registry, "load_library"):
            registry.load_library(str(file.absolute()))
