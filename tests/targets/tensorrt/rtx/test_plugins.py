"""``build --plugin``, with TensorRT for RTX."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from quantkit.core.errors import BadConfig
from quantkit.targets.tensorrt.engine.libraries import RTX
from quantkit.targets.tensorrt.engine.plugins import load_plugins

pytestmark = pytest.mark.skipif(not RTX.is_installed(), reason="TensorRT for RTX is not installed")
CREATORS = "int seen; void setLoggerFinder(void* f) {} void* const* getCreators(int* n) { seen++; *n = 0; return 0; }"


def library(folder: Path, code: str) -> Path:
    (folder / "plugin.c").write_text(code)
    file = folder / "libplugin.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", file, folder / "plugin.c"], check=True)
    return file


@pytest.mark.parametrize("code", ["int nothing;", CREATORS])
def test_libraries_are_loaded(tmp_path: Path, code: str) -> None:
    load_plugins(RTX, [library(tmp_path, code)])


def test_what_is_no_library_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="There is no plugin library"):
        load_plugins(RTX, [tmp_path / "missing.so"])
    (tmp_path / "text.so").write_text("text")
    with pytest.raises(BadConfig, match="does not load"):
        load_plugins(RTX, [tmp_path / "text.so"])
