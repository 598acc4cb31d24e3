from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from quantkit.core.errors import BadInput
from quantkit.core.files import atomic_file, atomic_folder, make_folder, write_text


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old")
    with pytest.raises(RuntimeError), atomic_file(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_failed_folder_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    with atomic_folder(folder) as temporary:
        (temporary / "x").write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_folder(folder) as temporary:
        (temporary / "x").write_text("new")
        raise KeyboardInterrupt
    assert (folder / "x").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_below_a_file_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        make_folder(tmp_path / "file" / "out")


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A real file system of 200 kB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", mount], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a small file system here")
    yield mount  # type: ignore[misc]
    subprocess.run(["umount", mount], check=True)


def test_a_full_disk_is_named_and_leaves_nothing(small_disk: Path) -> None:
    with pytest.raises(BadInput, match="is full"):
        write_text(small_disk / "big.txt", "x" * 400_000)
    assert list(small_disk.iterdir()) == []
