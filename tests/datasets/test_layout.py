"""Samples are read from an array as they lie in it; what could be meant in two ways is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from quantkit.core.errors import BadData
from quantkit.core.presets import PRESETS
from quantkit.datasets import OpenedData, Stream, open_dataset
from quantkit.datasets.layout import samples_in
from quantkit.graph.model_io import ModelInput

STEPS = ModelInput("x", (6, "N", 16), "float32", 1)
DETECTOR = ModelInput("x", (3, "H", "W"), "float32", None)
STATE = ModelInput("state", (2, "N", 8), "float32", 1)
RATE = ModelInput("sr", (), "int64", None)
ONE_RATE = ModelInput("sr", (1,), "int64", None)
FIXED = ModelInput("x", (4, 16), "float32", 0)
UNKNOWN = ModelInput("x", (5, 16), "float32", None, certain=False)
LENGTH = ModelInput("x", ("T", 16), "float32", None, certain=False)
RNG = np.random.default_rng(0)


def numbered(*shape: int) -> npt.NDArray[Any]:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


SAMPLES = numbered(7, 6, 16)
IMAGES = numbered(7, 3, 5, 4)


@pytest.mark.parametrize(
    ("array", "spec", "expected"),
    [
        (SAMPLES, STEPS, SAMPLES),
        (np.moveaxis(SAMPLES, 0, 1), STEPS, SAMPLES),
        (SAMPLES[:, :, None], STEPS, SAMPLES),
        (SAMPLES.reshape(42, 1, 16), STEPS, SAMPLES),
        (IMAGES, DETECTOR, IMAGES),
        (IMAGES.reshape(21, 5, 4), DETECTOR, IMAGES),
        (numbered(8, 16), FIXED, numbered(8, 16)),
        (numbered(2, 4, 16), FIXED, numbered(8, 16)),
        (numbered(8, 1, 16), FIXED, numbered(8, 16)),
        (numbered(3, 5, 16), UNKNOWN, numbered(3, 5, 16)),
        (numbered(3, 9, 16), LENGTH, numbered(3, 9, 16)),
        (np.array([8000, 16000]), RATE, np.array([8000, 16000])),
        (np.array([8000, 16000]), ONE_RATE, np.array([[8000], [16000]])),
        (np.array([[8000], [16000]]), ONE_RATE, np.array([[8000], [16000]])),
    ],
)
def test_every_layout_gives_the_same_samples(
    array: npt.NDArray[Any], spec: ModelInput, expected: npt.NDArray[Any]
) -> None:
    assert np.array_equal(samples_in(array, spec, "it").rows, expected)


@pytest.mark.parametrize(
    ("array", "spec"),
    [
        (np.array(16000), RATE),
        (np.array([16000]), RATE),
        (np.array([[16000]]), RATE),
        (np.array(16000), ONE_RATE),
        (np.array([16000]), ONE_RATE),
        (numbered(2, 8), STATE),
        (numbered(2, 1, 8), STATE),
        (numbered(1, 2, 8), STATE),
        (numbered(3, 5, 4), DETECTOR),
        (numbered(5, 16), UNKNOWN),
    ],
)
def test_one_value_may_stand_for_all_samples(array: npt.NDArray[Any], spec: ModelInput) -> None:
    found = samples_in(array, spec, "it")
    assert found.shared
    rows = found.repeated(9)
    assert len(rows) == 9
    assert all(np.array_equal(row.reshape(-1), array.reshape(-1)) for row in rows)


@pytest.mark.parametrize(
    ("array", "spec", "message"),
    [
        (numbered(6, 6, 16), STEPS, "may lie along axis 0 or axis 1"),
        (numbered(300, 16), UNKNOWN, "does not show along which axis"),
        (numbered(300, 16), LENGTH, "does not show along which axis"),
        (numbered(7, 5, 16), STEPS, "the model takes"),
        (numbered(7, 4, 5, 4), DETECTOR, "the model takes"),
        (numbered(10, 3, 16), FIXED, "the model takes"),  # runs of three for a batch of four
        (numbered(5, 7), RATE, "the model takes"),
    ],
)
def test_what_does_not_fit_or_is_not_clear_is_refused(array: npt.NDArray[Any], spec: ModelInput, message: str) -> None:
    with pytest.raises(BadData, match=message):
        samples_in(array, spec, "it")


VOICE = [ModelInput("input", ("N", 32), "float32"), STATE, RATE]
FRAMES, STATES = numbered(5, 32), numbered(5, 2, 8)


def opened(data: Any, inputs: list[ModelInput] = VOICE) -> OpenedData:
    return open_dataset(data, inputs, PRESETS["imagenet-stretch"])


def batches(data: OpenedData, size: int, inputs: list[ModelInput] = VOICE) -> list[dict[str, npt.NDArray[Any]]]:
    axes = {own.name: own.batch_axis for own in inputs}
    stream = Stream(data.dataset, [int(i) for i in data.indices], axes)
    return [batch.inputs for batch in stream.batches(size)]


def from_file(folder: Path) -> Any:
    np.savez(folder / "x.npz", input=FRAMES, state=STATES, sr=16000)
    return folder / "x.npz"


@pytest.mark.parametrize(
    "give",
    [
        from_file,
        lambda folder: {"input": FRAMES, "state": np.moveaxis(STATES, 0, 1), "sr": np.int64(16000)},
        lambda folder: [{"input": one, "state": state, "sr": 16000} for one, state in zip(FRAMES, STATES, strict=True)],
        lambda folder: [
            {"input": FRAMES[start : start + 2], "state": np.moveaxis(STATES[start : start + 2], 0, 1), "sr": 16000}
            for start in (0, 2, 4)
        ],
    ],
    ids=["npz", "arrays", "samples", "batches"],
)
def test_scalars_and_states_are_fed_and_samples_stay_whole(tmp_path: Path, give: Any) -> None:
    data = opened(give(tmp_path))
    assert len(data.dataset.names) == 5
    for size in (1, 2):
        found = batches(data, size)
        assert [batch["sr"].shape for batch in found] == [()] * len(found)
        assert all(batch["sr"] == 16000 and batch["sr"].dtype == np.int64 for batch in found)
        assert np.array_equal(np.concatenate([batch["input"] for batch in found]), FRAMES)
        assert np.array_equal(np.concatenate([batch["state"] for batch in found], axis=1), np.moveaxis(STATES, 0, 1))


def test_samples_that_differ_where_there_is_no_batch_axis_are_not_batched() -> None:
    data = opened({"input": FRAMES, "state": STATES, "sr": np.array([8000] * 3 + [16000] * 2)})
    assert len(batches(data, 1)) == 5
    with pytest.raises(BadData, match="no batch axis"):
        batches(data, 5)


def test_batches_are_resized_along_their_own_axes() -> None:
    data = opened({"input": FRAMES, "state": STATES, "sr": np.int64(8000)})
    axes = {own.name: own.batch_axis for own in VOICE}
    first = next(Stream(data.dataset, [0, 1], axes).batches(2))
    larger = first.resized(5)
    assert (larger["input"].shape, larger["state"].shape, larger["sr"].shape) == ((5, 32), (2, 5, 8), ())
    assert np.array_equal(larger["state"][:, 4], STATES[0])


@pytest.mark.parametrize("value", [0.5, np.float32(2), np.array(3.0)])
def test_a_model_of_single_numbers_takes_them(value: Any) -> None:
    spec = [ModelInput("x", ("N",), "float32")]
    found = batches(opened([value, value + 1], spec), 2, spec)
    assert found[0]["x"].tolist() == [float(value), float(value) + 1]
    assert np.array_equal(batches(opened(numbered(4), spec), 4, spec)[0]["x"], numbered(4))


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64", "int16", "int8", "bool", "float16", "float64"])
def test_arrays_are_cast_to_the_models_type(dtype: str) -> None:
    spec = [ModelInput("x", ("N", 4), dtype)]
    found = batches(opened(RNG.integers(0, 2, (3, 4)).astype(np.uint8), spec), 3, spec)
    assert found[0]["x"].dtype == np.dtype(dtype)


def test_values_without_any_element_are_samples() -> None:
    spec = [ModelInput("past", ("N", 2, "P", 4), "float32")]
    assert batches(opened(np.zeros((3, 2, 0, 4), np.float32), spec), 3, spec)[0]["past"].shape == (3, 2, 0, 4)
    assert batches(opened(list(np.zeros((3, 2, 0, 4), np.float32)), spec), 3, spec)[0]["past"].shape == (3, 2, 0, 4)
