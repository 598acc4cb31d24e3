"""CONTRIBUTING's "Adding" names exactly the files that something new of each kind touches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
MOST = {"calibrator": 4, "dialect": 5, "target": 5, "metric": 4, "data set": 4, "verb": 4}
# How the package knows the example of each kind: nothing else of it may, or adding one would touch that, too.
KNOWN_BY = {
    "calibrator": r"moving[-_]average\b",
    "dialect": r"quantized_for_onnxruntime|targets\.onnxruntime\.qdq",
    "target": r"\bOnnxRuntime\b|targets\.onnxruntime\b(?!\.regions)",
    "metric": r"largest_error|largest error",
    "data set": r"\bArrayFile\b",
    "verb": r"\bcli\.lint\b",
}
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the docs are not here")


def lists() -> dict[str, list[str]]:
    """The files by kind."""
    text = PAGE.read_text(encoding="utf-8")
    section = text[text.index("## Adding") : text.index("## The compiled kernel")]
    parts = re.split(r"^\*\*An? ([\w ]+)\*\*", section, flags=re.MULTILINE)[1:]
    return {
        kind: re.findall(r"^- `([^`]+)`:", body, flags=re.MULTILINE)
        for kind, body in zip(parts[::2], parts[1::2], strict=True)
    }


def test_every_kind_is_listed() -> None:
    assert lists().keys() == MOST.keys()


@pytest.mark.parametrize("kind", MOST)
def test_what_is_listed_is_there_and_not_more_than_it_may_be(kind: str) -> None:
    files = lists()[kind]
    assert len(files) <= MOST[kind]
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert any(file.startswith("tests/") for file in files)
    assert any(file.endswith(".md") for file in files)


@pytest.mark.parametrize("kind", MOST)
def test_nothing_else_of_the_package_knows_the_example(kind: str) -> None:
    knowing = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "quantkit").rglob("*.py")
        if re.search(KNOWN_BY[kind], file.read_text(encoding="utf-8"))
    }
    listed = {file for file in lists()[kind] if file.startswith("quantkit/")}
    assert knowing - listed == set()
    assert knowing


@pytest.mark.parametrize("kind", ["calibrator", "metric", "verb"])
def test_docs_and_tests_that_are_listed_do_speak_of_the_example(kind: str) -> None:
    for file in lists()[kind]:
        assert re.search(KNOWN_BY[kind] + r"|quantkit lint|\"lint\"", (ROOT / file).read_text(encoding="utf-8")), file
