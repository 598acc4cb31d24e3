"""``engine.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from quantkit.core.errors import BadInput
from quantkit.core.record import read_record
from quantkit.targets.tensorrt.engine.record import ENGINE_RECORD, AheadOfTime, EngineLayer, EngineRecord, Where

BUILT = Where(tensorrt="8.6.0", gpu="NVIDIA H200", compute_capability="9.0", driver="13.0")


def record() -> EngineRecord:
    return EngineRecord(
        precision="int8",
        mode="explicit",
        where=BUILT,
        fingerprint="f",
        engine_sha256="0" * 64,
        profiles=({"input": "1x3x8x8"}, {"input": "8x3x8x8"}),
        optimization_level=None,
        workspace_mb=512,
        build_seconds=3.5,
        executed_precision="int8",
        layers=(EngineLayer(name="conv", kind="CaskConvolution", precision="int8"),),
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, []),
        ({"tensorrt": "10.3.0"}, ["TensorRT 8.6.0, here 10.3.0"]),
        ({"gpu": "NVIDIA L4"}, ["GPU NVIDIA H200, here NVIDIA L4"]),
        (
            {"gpu": "NVIDIA L4", "compute_capability": "8.9"},
            ["GPU NVIDIA H200, here NVIDIA L4", "compute capability 9.0, here 8.9"],
        ),
        ({"driver": "12.4"}, ["driver for CUDA 13.0, here 12.4"]),
    ],
)
def test_differences_in_words(changed: dict[str, str], words: list[str]) -> None:
    assert BUILT.differences(BUILT.model_copy(update=changed)) == words


@pytest.mark.parametrize(
    ("changed", "serves"),
    [({}, True), ({"driver": "12.4"}, True), ({"tensorrt": "8.6.1"}, False), ({"gpu": "L4"}, False)],
)
def test_an_engine_serves_the_same_tensorrt_and_gpu(changed: dict[str, str], serves: bool) -> None:
    assert BUILT.serves(BUILT.model_copy(update=changed)) == serves


AHEAD = AheadOfTime(tensorrt_rtx="1.7.1.116", compute_capabilities=("8.6", "8.9"))


@pytest.mark.parametrize(
    ("version", "capability", "words"),
    [
        ("1.7.1.116", "8.9", []),
        ("1.7.1.116", "12.0", ["compute capability 8.6, 8.9, here 12.0"]),
        ("1.8.0", "8.6", ["TensorRT for RTX 1.7.1.116, here 1.8.0"]),
    ],
)
def test_an_engine_built_ahead_serves_the_capabilities_that_it_is_for(
    version: str, capability: str, words: list[str]
) -> None:
    here = Where(tensorrt=version, gpu="a GPU", compute_capability=capability, driver="13.0")
    assert AHEAD.differences(here) == words
    assert AHEAD.serves(here) == (not words)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / ENGINE_RECORD).write_text(record().model_dump_json(indent=1), encoding="utf-8")
    assert read_record(EngineRecord, tmp_path / ENGINE_RECORD, "quantkit build") == record()


@pytest.mark.parametrize("change", [{"unknown": 1}, {"schema_version": 2}, {"where": {"tensorrt": "8.6.0"}}])
def test_what_does_not_belong_there_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EngineRecord.model_validate(record().model_dump() | change)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 1}'])
def test_a_damaged_file_names_the_command_that_makes_it_again(tmp_path: Path, text: str) -> None:
    (tmp_path / ENGINE_RECORD).write_text(text, encoding="utf-8")
    with pytest.raises(BadInput) as error:
        read_record(EngineRecord, tmp_path / ENGINE_RECORD, "quantkit build")
    assert "quantkit build" in str(error.value)
