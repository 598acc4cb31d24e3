"""Held against onnxruntime's own writer and reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnxruntime.quantization import calibrate
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData

from quantkit.core.errors import BadInput
from quantkit.core.ranges import TensorRange
from quantkit.formats.tensors_data import is_tensors_data, read_tensors_data, tensors_data_text

RANGES = {"a": TensorRange.asymmetric(-1.25, 3.1), "b::c": TensorRange.asymmetric(0.0, 0.1)}
needs_writer = pytest.mark.skipif(not hasattr(calibrate, "save_tensors_data"), reason="this onnxruntime has no writer")


def theirs(ranges: dict[str, TensorRange]) -> Any:
    data = {n: TensorData(lowest=np.array(r.low, "f4"), highest=np.array(r.high, "f4")) for n, r in ranges.items()}
    return TensorsData(CalibrationMethod.MinMax, data)


@needs_writer
def test_the_text_is_what_onnxruntime_writes(tmp_path: Path) -> None:
    calibrate.save_tensors_data(theirs(RANGES), tmp_path / "theirs.json")
    assert tensors_data_text(RANGES) == (tmp_path / "theirs.json").read_text()


@needs_writer
def test_onnxruntime_reads_it(tmp_path: Path) -> None:
    (tmp_path / "ours.json").write_text(tensors_data_text(RANGES, "CalibrationMethod.Entropy"))
    read = calibrate.load_tensors_data(tmp_path / "ours.json")
    assert read.calibration_method is CalibrationMethod.Entropy
    for name, range_ in RANGES.items():
        assert read[name].range_value == (np.float32(range_.low), np.float32(range_.high))


LOW, HIGH = st.floats(-(2.0**60), 0, width=32), st.floats(2.0**-60, 2.0**60, width=32)


@given(st.dictionaries(st.text(max_size=8), st.builds(TensorRange.asymmetric, LOW, HIGH), min_size=1, max_size=4))
def test_it_reads_back(ranges: dict[str, TensorRange]) -> None:
    read = read_tensors_data(json.loads(tensors_data_text(ranges)), "it")
    assert read.ranges == ranges
    assert not read.symmetric
    assert read.method == "CalibrationMethod.MinMax"


@needs_writer
def test_what_onnxruntimes_calibrators_leave_is_read(tmp_path: Path) -> None:
    data = TensorsData(
        CalibrationMethod.Entropy,
        {
            "x": TensorData(lowest=np.array([-1.0], "f4"), highest=np.array([2.0], "f4")),
            "half": TensorData(lowest=np.float16(-0.5), highest=np.float16(0.25)),
            "y": TensorData(
                lowest=np.float32(0.5),
                highest=np.float32(4.0),
                hist=np.arange(4),
                hist_edges=np.arange(5, dtype="f4"),
                bins=np.array(4),
            ),
            "channels": TensorData(lowest=np.array([[-1, -3]], "f4"), highest=np.array([[2, 1]], "f4")),
            "dead": TensorData(lowest=np.float32(0), highest=np.float32(0)),
        },
    )
    calibrate.save_tensors_data(data, tmp_path / "theirs.json")
    document = json.loads((tmp_path / "theirs.json").read_text())
    assert is_tensors_data(document)
    read = read_tensors_data(document, "it")
    assert {n: (r.low, r.high) for n, r in read.ranges.items()} == {
        "x": (-1.0, 2.0), "half": (-0.5, 0.25), "y": (0.0, 4.0), "channels": (-3.0, 2.0), "dead": (0.0, 2.0**-13),
    }  # fmt: skip
    assert read.method == "CalibrationMethod.Entropy"
    assert "for each channel" in read.notes[0]
    assert read.dead == ("dead",)
    plain = json.loads(json.dumps(data.data, cls=calibrate.CalibrationCacheEncoder))  # as write_calibration_table may
    assert is_tensors_data(plain)
    assert read_tensors_data(plain, "it").ranges == read.ranges


def test_other_json_is_not_taken_for_it() -> None:
    assert not is_tensors_data({"schema_version": 2, "tensors": {}})
    assert not is_tensors_data({"a": [0, 1]})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "without its data"),
        ({}, "holds no range"),
        ({"a": {"lowest": 0}}, "no lowest and highest for 'a'"),
        ({"a": {"lowest": 0, "highest": "much"}}, "is no number"),
        ({"a": {"lowest": 0, "highest": {"data": None}}}, "is no number"),
        ({"a": {"lowest": 0, "highest": True}}, "is no number"),
        ({"a": {"lowest": [], "highest": []}}, "is empty"),
        ({"a": {"lowest": 0, "highest": float("nan")}}, "is NaN"),
        ({"a": {"lowest": 0, "highest": float("inf")}}, "0 to inf"),
        ({"a": {"lowest": 0, "highest": 10**400}}, "0 to inf"),
        ({"a": {"lowest": 2, "highest": 1}}, "2 to 1"),
    ],
)
def test_damaged_documents_are_bad_input(data: object, said: str) -> None:
    with pytest.raises(BadInput) as error:
        read_tensors_data({"CLS": "TensorsData", "data": data}, "it")
    assert said in error.value.what
