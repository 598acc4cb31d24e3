"""Reads npz files that quantkit wrote, trusting nothing in them: sizes are checked before anything is unpacked."""

from __future__ import annotations

import io
import struct
import threading
import zipfile
import zlib
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

LARGEST = 2 << 30  # bytes of all arrays together: the histograms of 60,000 tensors
SUFFIX = ".npy"


def read_npz(data: bytes, wanted: Collection[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """Read arrays from the bytes of an npz file.

    Args:
        data: The contents of the file.
        wanted: The names of the arrays; None means all.

    Returns:
        The arrays by name.

    Raises:
        ValueError: The file is damaged, larger unpacked than it may be, or lacks an array.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename.removesuffix(SUFFIX): info for info in archive.infolist()}
            if sum(info.file_size for info in archive.infolist()) > LARGEST:
                raise ValueError(f"it holds more than {LARGEST >> 30} GB")
            names = members.keys() if wanted is None else wanted
            if lacking := [name for name in names if name not in members]:
                raise ValueError(f"it has no {lacking[0]!r}")
            return {name: _array(archive, members[name], name) for name in names}
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, struct.error, SyntaxError, TypeError) as error:
        raise ValueError(str(error) or type(error).__name__) from error
    # An encrypted archive, one of an unknown compression, and offsets beyond any file.
    except (RuntimeError, OverflowError) as error:
        raise ValueError(str(error)) from error


# NumPy reads headers with Python's parser of literals. In CPython 3.11.7 that failed once while threads read samples,
# with the error of gh-106905; one thread at a time parses since.
HEADERS = threading.Lock()


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> npt.NDArray[Any]:
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        if version != (1, 0):
            raise ValueError(f"{name!r} has format {version}")
        with HEADERS:
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
        if dtype.hasobject or fortran or any(size < 0 for size in shape):
            raise ValueError(f"{name!r} has shape {shape} and type {dtype}")
        count = int(np.prod(shape, dtype=object))
        content = member.read()
        if len(content) != count * dtype.itemsize:
            raise ValueError(f"{name!r} has {len(content)} bytes for shape {shape} and type {dtype}")
        array: npt.NDArray[Any] = np.frombuffer(content, dtype, count).reshape(shape)
        return array
