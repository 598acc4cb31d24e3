"""Maps .npy files, trusting neither their headers nor that they stay as long as they are."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.npz import HEADERS
from quantkit.datasets.base import Unreadable


def map_npy(path: Path) -> npt.NDArray[Any]:
    """Map the array of a file. Raises ValueError, EOFError or OSError for a file that is no array of numbers."""
    with path.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        try:
            with HEADERS:
                shape, fortran, dtype = read(stream)
        except Exception as error:  # NumPy lets through what Python's parser stumbles over
            raise ValueError(f"damaged header ({error})") from error
        start, size = stream.tell(), stream.seek(0, 2)
    if any(length < 0 for length in shape) or dtype.kind not in "fiub":
        raise ValueError(f"shape {shape} and type {dtype}")
    if start + math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"{size} bytes for shape {shape} and type {dtype}")
    if 0 in shape:
        return np.zeros(shape, dtype)
    array: npt.NDArray[Any] = np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")
    return array


def row_of(array: npt.NDArray[Any], index: int) -> npt.NDArray[Any]:
    """Return one row of an array, as a copy if it lies in a file.

    It is read and not mapped: a process that touches the map of a file that was truncated since is killed. Raises
    Unreadable for such a file.
    """
    path = getattr(array, "filename", None)
    if not isinstance(array, np.memmap) or path is None or array.ndim == 0:
        row: npt.NDArray[Any] = array[index]
        return row
    try:
        with Path(path).open("rb") as stream:
            if not array.flags.c_contiguous:
                if stream.seek(0, 2) < array.offset + array.nbytes:
                    raise Unreadable("the file was truncated")
                return np.array(array[index])
            size = array.nbytes // len(array)
            stream.seek(array.offset + (index % len(array)) * size)
            data = stream.read(size)
    except OSError:  # unpacked from an .npz, and deleted: nobody can truncate it
        return np.array(array[index])
    if len(data) < size:
        raise Unreadable("the file was truncated")
    return np.frombuffer(data, array.dtype).reshape(array.shape[1:])
