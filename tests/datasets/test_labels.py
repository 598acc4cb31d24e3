"""Labels that people and their tools write: every way to say the same thing means it, and nonsense is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantkit.core.errors import BadData
from quantkit.datasets.images import scan_list
from quantkit.datasets.labels import Labels, index_labels, read_labels, unlabelled_warning

NAMES = [f"i{number}.png" for number in range(12)]
COLOURS = ["blue", "green", "red"]


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "labels.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def indices_of(
    folder: Path, text: str | bytes, classes: list[str] | None = None
) -> tuple[tuple[int | None, ...] | None, tuple[str, ...]]:
    return index_labels(read_labels(written(folder, text), NAMES).names, classes, "labels.csv", True)


@pytest.mark.parametrize(
    "form",
    ["{}", "{}.0", "{}.", "{:03d}", "+{}", "{}e0", ' "{}"', "{} ", "{}.00"],
)
@pytest.mark.parametrize("head", ["", "file,class\n", "\ufefffile,class\n", "\n", "image,label,split\n"])
def test_a_number_is_an_index_however_it_is_written(tmp_path: Path, form: str, head: str) -> None:
    text = head + "".join(f"{name},{form.format(at)}\n" for at, name in enumerate(NAMES))
    assert indices_of(tmp_path, text) == (tuple(range(12)), ())


@pytest.mark.parametrize("missing", ["", "-1", "-1.0", '""', "  ", "nan", "NaN"])
def test_samples_without_a_label_are_left_out_and_counted(tmp_path: Path, missing: str) -> None:
    text = "".join(f"{name},{at or missing}\n" for at, name in enumerate(NAMES[:10]))
    found, _ = indices_of(tmp_path, text)
    assert found == (None, *range(1, 10), None, None)
    (warning,) = unlabelled_warning(found, Path("labels.csv"))
    assert "3 of 12 images have no label" in warning
    nothing, _ = indices_of(tmp_path, "".join(f"{name},{missing}\n" for name in NAMES))
    assert nothing is None
    assert "no label for any" in unlabelled_warning(None, Path("labels.csv"))[0]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", ", ", " ;"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_columns_and_lines_are_separated_as_tools_do_it(tmp_path: Path, separator: str, end: str) -> None:
    lines = [f"{name}{separator}{COLOURS[at % 3]}" for at, name in enumerate(NAMES)]
    assert indices_of(tmp_path, end.join(lines))[0] == tuple(at % 3 for at in range(12))


@pytest.mark.parametrize(
    ("text", "classes", "expected"),
    [
        ("class,file\nred,i0.png\nblue,i1.png\n", None, [1, 0]),
        ("file,width,label\ni0.png,32,red\ni1.png,33,blue\n", None, [1, 0]),
        ("file,class,split\ni0.png,red,train\ni1.png,blue,val\n", None, [1, 0]),
        (".\\i0.png,red\n./i1.png,blue\n", None, [1, 0]),
        ('"i0.png","red, dark"\n"i1.png","blue"\n', None, [1, 0]),
        ("i0.png,7\ni1.png,3\n", ["7", "3"], [0, 1]),  # classes whose names are digits
        ("i0.png,7.0\ni1.png,3.0\n", ["7", "3"], [0, 1]),
        ("i0.png,1\ni1.png,0\n", COLOURS, [1, 0]),  # numbers beside named classes are indices
        ("i0.png,-1\ni1.png,1\n", ["-1", "1"], [0, 1]),  # a class of that name
        ("i0.png,none\ni1.png,red\n", None, [0, 1]),  # among names it is one
    ],
)
def test_what_stands_where(tmp_path: Path, text: str, classes: list[str] | None, expected: list[int]) -> None:
    found, _ = indices_of(tmp_path, text, classes)
    assert found is not None
    assert list(found[:2]) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("i0.png,1\ni0.png,1\n", "twice: i0.png"),
        ("i0.png,1\n./i0.png,2\n", "twice: i0.png"),
        ("i0.png,1.5\ni1.png,2\n", "no index"),
        ("i0.png,-2\ni1.png,2\n", "no index"),
        (f"i0.png,{'9' * 30}\n", "no index"),
        ("i0.png,1e300\n", "no index"),
        ("i0.png,3\ni1.png,red\n", "both numbers and names"),
        ("i0.png\ni1.png,1\n", "without a class"),
        ("other.png,1\n", "no image of the folder"),
        ("", "no image of the folder"),
        (b"\xff\xfei0.png,1\n", "cannot be read"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, text: str | bytes, words: str) -> None:
    with pytest.raises(BadData, match=words):
        indices_of(tmp_path, text)


def test_an_index_beyond_the_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="label 3, outside"):
        indices_of(tmp_path, "i0.png,3\n", COLOURS)


def test_files_that_are_not_there_are_warned_of(tmp_path: Path) -> None:
    labels = read_labels(written(tmp_path, "i0.png,1\ngone.png,2\nlost.png,3\n"), NAMES)
    assert isinstance(labels, Labels)
    assert "2 files" in labels.warnings[0]
    assert "gone.png, lost.png" in labels.warnings[0]


@pytest.mark.parametrize("form", ["{}", "{}.0", "{:03d}"])
def test_numbers_behind_a_tab_in_a_list_are_indices_too(tmp_path: Path, form: str) -> None:
    (tmp_path / "list.txt").write_text("".join(f"{name}\t{form.format(at)}\n" for at, name in enumerate(NAMES)))
    files = scan_list(tmp_path / "list.txt")
    assert files.labels is not None
    assert index_labels(files.class_names, None, "list.txt", True)[0] == tuple(range(12))
