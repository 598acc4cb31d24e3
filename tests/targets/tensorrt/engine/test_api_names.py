"""Which names ``scripts/check_tensorrt_api.py`` finds in the adapter, and what it says of bindings that lack one."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

# CI copies the tests alone for the other Pythons.
check = pytest.importorskip("scripts.check_tensorrt_api", reason="the scripts are not here")

USED = {file: check.used_names(check.ADAPTER / file) for file in check.FILES}
COMMON = [file for file in check.FILES if file not in check.REMOVED_IN_11]


def test_every_file_that_uses_tensorrt_is_checked() -> None:
    for path in check.ADAPTER.glob("*.py"):
        if "library.tensorrt()" in path.read_text(encoding="utf-8"):
            assert path.name in check.FILES


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("libraries.py", {"ILogger", "INTERNAL_ERROR", "__version__", "log"}),
        ("network.py", {"create_network", "OnnxParser", "parse_from_file", "num_errors", "STRONGLY_TYPED", "desc"}),
        ("builder.py", {"Builder", "build_serialized_network", "set_shape", "TF32", "serialize", "progress_monitor"}),
        ("session.py", {"set_input_shape", "execute_async_v3", "nptype", "report_layer_time", "profiler", "JSON"}),
        ("progress.py", {"IProgressMonitor", "phase_start", "step_complete", "phase_finish"}),
        ("capabilities.py", {"ComputeCapability", "num_compute_capabilities", "set_compute_capability"}),
        ("implicit.py", {"set_dynamic_range", "FP16", "INT8", "precision", "IPoolingLayer", "weights"}),
    ],
)
def test_names_of_every_kind_are_found(file: str, names: set[str]) -> None:
    assert names <= USED[file].names


def test_what_11_removed_is_used_in_one_file_alone() -> None:
    removed = {"set_dynamic_range", "FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS", "set_output_type"}
    assert removed <= USED["implicit.py"].names
    for file in COMMON:
        assert not removed & USED[file].names


def test_what_is_not_tensorrts_is_left_out() -> None:
    others = {"append", "items", "kept", "prod", "getLogger", "close", "st_size", "what", "Stream", "sub"}
    for used in USED.values():
        assert not others & used.names


def test_guards_are_found() -> None:
    assert USED["network.py"].guarded == {"EXPLICIT_BATCH", "STRONGLY_TYPED"}
    assert USED["builder.py"].guarded == {"IProgressMonitor", "progress_monitor", "PROFILE_SHARING_0806"}


@pytest.mark.parametrize(
    ("major", "rtx", "absent"),
    [
        (8, False, {"progress.py", "capabilities.py"}),
        (10, False, {"capabilities.py"}),
        (11, False, {"implicit.py", "capabilities.py"}),
        (1, True, {"implicit.py"}),
    ],
)
def test_files_are_asked_of_the_releases_that_use_them(major: int, rtx: bool, absent: set[str]) -> None:
    assert set(check.FILES) - set(check.files_for(major, rtx)) == absent


def bindings(path: Path, names: set[str]) -> Path:
    """A wheel whose binary holds these names as a C string table does."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tensorrt_bindings/tensorrt.so", b"".join(f"x{name}\0".encode() for name in sorted(names)))
        archive.writestr("tensorrt_bindings/__init__.py", "def nptype(trt_type): ...")
    return path


def test_a_name_that_is_missing_is_told_and_a_guarded_one_is_not(tmp_path: Path) -> None:
    everything = set().union(*(used.names for used in USED.values())) - {"nptype"}
    whole = bindings(tmp_path / "whole.whl", everything)
    assert check.missing_names(whole, check.FILES) == {file: [] for file in check.FILES}
    lacking = bindings(tmp_path / "lacking.whl", everything - {"set_input_shape", "EXPLICIT_BATCH"})
    assert check.missing_names(lacking, check.FILES) == {
        file: ["set_input_shape"] if file in ("session.py", "lanes.py") else [] for file in check.FILES
    }
