"""What data sets share whose samples are a file each: images, and .npz files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from quantkit.core.errors import BadData
from quantkit.core.reading import LARGEST_IMAGE, read_file
from quantkit.datasets.base import Dataset, Unreadable


class FileDataset(Dataset):
    """Samples of one file each.

    Attributes:
        paths: The file of each sample.
        what: What error messages call such a file.
    """

    paths: Sequence[Path]
    what: ClassVar[str] = "sample"

    def stamp(self, index: int) -> str:
        """Return the file's size, modification time and status-change time; "missing" if there is no file."""
        try:
            status = self.paths[index].stat()
        except (OSError, ValueError):  # ValueError: a NUL in the name
            return "missing"
        return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}"

    def size(self, index: int) -> int:
        """Return the bytes of the file; 0 if there is no file."""
        try:
            return self.paths[index].stat().st_size
        except (OSError, ValueError):
            return 0

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of the file. Raises Unreadable."""
        return hashlib.sha256(content_of(self.paths[index], self.what)).digest()


def content_of(path: Path, what: str) -> bytes:
    """Return the bytes of a sample's file. Raises Unreadable."""
    try:
        return read_file(path, LARGEST_IMAGE, BadData, what)
    except BadData as error:
        raise Unreadable(error.what) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise Unreadable(getattr(error, "strerror", None) or str(error)) from error
