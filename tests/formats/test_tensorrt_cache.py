from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantkit.core.errors import BadInput
from quantkit.formats.tensorrt_cache import (
    ENTROPY,
    cache_text,
    header_of,
    parse_cache,
    read_cache,
    text_with_header,
    version_number,
)

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.cache"))
NAMES = st.text(min_size=1, max_size=20).filter(lambda name: name.splitlines() == [name])


@pytest.mark.parametrize(
    ("version", "number"), [("8.6.0", 8600), ("8.6.1", 8601), ("8.4", 8400), ("10.3.0", 100300), ("10.16.1", 101601)]
)
def test_versions(version: str, number: int) -> None:
    assert version_number(version) == number


@pytest.mark.parametrize("version", ["", "eight", "8.6.0.1", "-1", "8..6", "8.6.0\nx", "٨.6"])
def test_versions_that_are_none(version: str) -> None:
    with pytest.raises(BadInput):
        version_number(version)


def test_the_cache_holds_big_endian_scales() -> None:
    text = cache_text({"onnx::Conv_329": 127.0, "input": 254.0}, "8.6.0", ENTROPY)
    assert text == "TRT-8600-EntropyCalibration2\nonnx::Conv_329: 3f800000\ninput: 40000000\n"


@given(st.dictionaries(NAMES, st.floats(2.0**-20, 2.0**20, width=32), max_size=5))
def test_a_cache_reads_back(amax: dict[str, float]) -> None:
    header, read = parse_cache(cache_text(amax, "10.3", ENTROPY), "test")
    assert header == "TRT-100300-EntropyCalibration2"
    assert list(read) == list(amax)
    for name, value in amax.items():
        assert struct.pack(">f", read[name] / 127) == struct.pack(">f", value / 127)


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.name)
def test_tensorrts_own_caches_come_out_as_they_were(file: Path) -> None:
    header, amax = parse_cache(file.read_text(encoding="utf-8"), file.name)
    assert text_with_header(amax, header) == file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("found", "version", "algorithm", "written"),
    [
        ("TRT-8600-EntropyCalibration2", None, None, "TRT-8600-EntropyCalibration2"),
        ("TRT-8600-MinMaxCalibration", "10.3", None, "TRT-100300-MinMaxCalibration"),
        ("TRT-8600-MinMaxCalibration", None, ENTROPY, "TRT-8600-EntropyCalibration2"),
        ("TRT-99999-SomethingNew", None, None, "TRT-99999-SomethingNew"),
        ("", None, None, "TRT-8600-EntropyCalibration2"),
        ("", "10.3", "MinMaxCalibration", "TRT-100300-MinMaxCalibration"),
    ],
)
def test_headers_change_only_where_asked(found: str, version: str | None, algorithm: str | None, written: str) -> None:
    assert header_of(found, "8.6.0", version, algorithm) == written


BODY = "TRT-8600-EntropyCalibration2\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "first line is ''"),
        ("hello", "first line is 'hello'"),
        ("TRT-new-EntropyCalibration2\na: 3f800000", "first line is 'TRT-new"),
        ("0 3fe0000000000000 3feffffff0000000\na: 3f800000", "legacy calibrator"),
        (BODY, "holds no range"),
        (f"{BODY}name 3f800000", "Line 2"),
        (f"{BODY}a: 3f800000\nname: 3f8zz000", "Line 3 of it does not end in the hex"),
        (f"{BODY}a: 3caa5", "cut short"),
        (f"{BODY}a: 3f800000\n\nb: 3f800000", "Line 3 of it is blank"),
        (f"{BODY}a: 3f800000\n  \nb: 3f800000", "Line 3 of it is blank"),
        (f"{BODY}: 3f800000", "Line 2"),
        (f"{BODY}a: 7fc00000", "the value nan"),
        (f"{BODY}a: 7f800000", "the value inf"),
        (f"{BODY}a: bf800000", "the value -127"),
        (f"{BODY}a: 3f800000\na: 3f800001", "Line 3 of it gives 'a' a second"),
    ],
)
def test_damaged_caches_are_bad_input(text: str, said: str) -> None:
    with pytest.raises(BadInput) as error:
        read_cache(text, "it")
    assert said in error.value.what


def test_what_is_no_damage() -> None:
    text = f"{BODY}onnx::Conv: 1: 3f800000\na\u2028b: 3F800000\r\nsame: 40000000\nsame: 40000000\n\n"
    amax = {name: range_.amax for name, range_ in read_cache(text, "it").ranges.items()}
    assert amax == {"onnx::Conv: 1": 127.0, "a\u2028b": 127.0, "same": 254.0}


@pytest.mark.parametrize("zero", ["00000000", "0", "80000000", "00000001"])
def test_the_range_of_a_dead_tensor_is_given_a_floor_and_named(zero: str) -> None:
    read = read_cache(f"{BODY}dead: {zero}\nalive: 3f800000\n", "it")
    assert read.ranges["dead"].amax == 2.0**-13
    assert read.ranges["alive"].amax == 127.0
    assert read.dead == ("dead",)
    assert "dead: 00000000" not in text_with_header({n: r.amax for n, r in read.ranges.items()}, read.header)


def test_names_with_line_breaks_cannot_be_written() -> None:
    for name in ("a\nb", "a\r"):
        with pytest.raises(BadInput, match="line break"):
            cache_text({name: 1.0}, "8.6", ENTROPY)
