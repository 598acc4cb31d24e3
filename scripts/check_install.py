"""Imports every submodule of the installed quantkit where no vendor package is installed.

python scripts/check_install.py
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from importlib.util import find_spec

ABSENT = ("openvino", "nncf", "tensorrt", "scipy")


def main() -> int:
    """Return 1 when a vendor package is here after all, or a module does not import."""
    present = [name for name in ABSENT if find_spec(name) is not None]
    if present:
        print(f"this environment is not empty: {present}")
        return 1
    import quantkit

    names = [module.name for module in pkgutil.walk_packages(quantkit.__path__, "quantkit.")]
    for name in names:
        if name != "quantkit.__main__":
            importlib.import_module(name)
    print(f"{len(names)} modules import without {', '.join(ABSENT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
