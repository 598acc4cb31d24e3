"""Recognizes that memory ran out, whichever library noticed it, and refuses to begin with far too little.

A process without memory fails in ways that name anything else: a module that cannot be imported, a list that is too
short, an abort in a library's thread.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

from quantkit.core.errors import QuantkitError

# Libraries written in C and C++ report it in words of their own.
WORDS = re.compile(
    r"bad_alloc|out of memory|cannot allocate memory|failed to allocate|alloc failed|unable to allocate"
    r"|failed to map segment|can't start new thread|not enough memory",
    re.IGNORECASE,
)
LEAST = 512 << 20  # bytes of address space; with less, libraries abort while they are loaded
NEARLY_ALL = 0.75  # share of the address space; the failure of a process that used more is blamed on its limit


def is_out_of_memory(error: BaseException) -> bool:
    """True if the exception, or one that it came from, says that there is not enough memory or address space."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if isinstance(current, MemoryError) or getattr(current, "errno", None) == errno.ENOMEM:
            return True
        if not isinstance(current, (QuantkitError, OSError)) and WORDS.search(str(current)):
            return True
        current = current.__cause__ or current.__context__
    return False


def address_space() -> int | None:
    """Return the limit of this process's address space in bytes (``ulimit -v``); None if it has none."""
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def limit_was_reached() -> bool:
    """True if this process came near the limit of its address space."""
    limit = address_space()
    if limit is None:
        return False
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except (OSError, MemoryError):
        return True
    peak = re.search(r"VmPeak:\s*(\d+) kB", status)
    return peak is None or int(peak[1]) << 10 > NEARLY_ALL * limit
