from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantkit.core.errors import BadInput
from quantkit.formats.dynamic_ranges import ranges_text, read_ranges
from quantkit.formats.tensorrt_cache import read_cache, text_with_header

NAMES = st.text(min_size=1, max_size=20).filter(lambda name: name.splitlines() == [name])
AMAX = st.floats(2.0**-100, 2.0**100, width=32)


def test_ranges_are_amax_not_scale() -> None:
    assert ranges_text({"a:b": 1.5}) == "a:b:1.5\n"
    read = read_ranges("a:b:1.5\ninput: 2e-1\n", "it")
    assert {name: range_.amax for name, range_ in read.ranges.items()} == {"a:b": 1.5, "input": 0.2}
    assert read.symmetric == {"a:b", "input"}


@given(st.dictionaries(NAMES, AMAX, min_size=1, max_size=5))
def test_nine_digits_hold_a_float32(amax: dict[str, float]) -> None:
    read = {name: range_.amax for name, range_ in read_ranges(ranges_text(amax), "it").ranges.items()}
    assert {name: struct.pack("f", value) for name, value in read.items()} == {
        name: struct.pack("f", value) for name, value in amax.items()
    }


@given(st.dictionaries(NAMES, AMAX, min_size=1, max_size=5))
def test_nine_digits_hold_the_scales_of_a_cache(scales: dict[str, float]) -> None:
    cache = text_with_header({name: scale * 127 for name, scale in scales.items()}, "TRT-8600-EntropyCalibration2")
    text = ranges_text({name: range_.amax for name, range_ in read_cache(cache, "it").ranges.items()})
    back = {name: range_.amax for name, range_ in read_ranges(text, "it").ranges.items()}
    assert text_with_header(back, "TRT-8600-EntropyCalibration2") == cache


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("input", "Line 1 of it is not 'name:value'"),
        ("a:1\ninput: 3caa54fc", "Line 2 of it does not end in a number"),
        ("a:1_0", "does not end in a number"),
        ("a:٣", "does not end in a number"),
        ("a:nan", "the value nan"),
        ("a:-inf", "the value -inf"),
        ("a:-1", "the value -1"),
        ("a:1e39", "-1e+39 to 1e+39"),
        ("a:1\n\nb:1", "Line 2 of it is blank"),
        ("a:1\na:2", "a second, different value"),
        (":1", "Line 1"),
    ],
)
def test_damaged_ranges_are_bad_input(text: str, said: str) -> None:
    with pytest.raises(BadInput) as error:
        read_ranges(text, "it")
    assert said in error.value.what


def test_names_with_line_breaks_cannot_be_written() -> None:
    with pytest.raises(BadInput, match="line break"):
        ranges_text({"a\nb": 1.0})
