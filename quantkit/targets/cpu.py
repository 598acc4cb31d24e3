"""This machine's processor: its name, its cores, and what INT8 it is able to."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path


@cache
def saturates_u8s8() -> bool:
    """True if u8·s8 dot products saturate at 16 bits on this machine: x86 without VNNI or AMX-INT8.

    Weights need 7 bits there. If the processor's flags cannot be read, the result is True, which is safe.
    """
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return True
    return not {"avx512_vnni", "avx_vnni", "amx_int8"} & set(flags.split())


def cpu_name() -> str:
    """Return the processor's model name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
