from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantkit.core.errors import BadInput
from quantkit.targets.tensorrt.cache import ENTROPY, cache_text, parse_cache, ranges_text, version_number


@pytest.mark.parametrize(
    ("version", "number"), [("8.6.0", 8600), ("8.6.1", 8601), ("8.4", 8400), ("10.3.0", 100300), ("10.16.1", 101601)]
)
def test_versions(version: str, number: int) -> None:
    assert version_number(version) == number


@pytest.mark.parametrize("version", ["", "eight", "8.6.0.1", "-1", "8..6", "8.6.0\nx"])
def test_versions_that_are_none(version: str) -> None:
    with pytest.raises(BadInput):
        version_number(version)


def test_the_cache_holds_big_endian_scales() -> None:
    text = cache_text({"onnx::Conv_329": 127.0, "input": 254.0}, "8.6.0", ENTROPY)
    assert text == "TRT-8600-EntropyCalibration2\nonnx::Conv_329: 3f800000\ninput: 40000000\n"


NAMES = st.text(min_size=1, max_size=20).filter(lambda name: name.splitlines() == [name])


@given(st.dictionaries(NAMES, st.floats(2.0**-20, 2.0**20, width=32), max_size=5))
def test_a_cache_reads_back(amax: dict[str, float]) -> None:
    header, read = parse_cache(cache_text(amax, "10.3", ENTROPY), "test")
    assert header == "TRT-100300-EntropyCalibration2"
    assert list(read) == list(amax)
    for name, value in amax.items():
        assert struct.pack(">f", read[name] / 127) == struct.pack(">f", value / 127)


@pytest.mark.parametrize("text", ["", "hello", "TRT-8600-X\nname 3f800000", "TRT-8600-X\nname: 3f8zz000"])
def test_damaged_caches_are_bad_input(text: str) -> None:
    with pytest.raises(BadInput):
        parse_cache(text, "test")


def test_names_with_line_breaks_cannot_be_written() -> None:
    for write in (ranges_text, lambda amax: cache_text(amax, "8.6", ENTROPY)):
        with pytest.raises(BadInput, match="line break"):
            write({"a\nb": 1.0})
        with pytest.raises(BadInput, match="line break"):
            write({"a\r": 1.0})


def test_ranges_are_amax_not_scale() -> None:
    assert ranges_text({"a:b": 1.5}) == "a:b:1.5\n"
