"""Samples that a program hands over: anything that yields them, recognised by what it holds."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import quantkit
from quantkit.core.errors import BadData
from quantkit.core.presets import PRESETS
from quantkit.datasets import OpenedData, Stream, open_dataset
from quantkit.graph.model_io import ModelInput

Array = npt.NDArray[Any]
ONE = [ModelInput("x", ("N", 3, 16, 16), "float32")]
TWO = [ModelInput("ids", ("N", 4), "int64"), ModelInput("mask", ("N", 4), "float32")]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 3, 16, 16)).astype(np.float32)
Y = RNG.integers(0, 3, 10)
PIXELS = RNG.integers(0, 255, (10, 20, 24, 3)).astype(np.uint8)


class Tensor:
    """What of a torch tensor matters: it must leave its graph and its device before it is an array."""

    def __init__(self, values: Array, ready: frozenset[str] = frozenset()) -> None:
        self.values, self.ready = values, ready

    def detach(self) -> Tensor:
        return Tensor(self.values, self.ready | {"detached"})

    def cpu(self) -> Tensor:
        return Tensor(self.values, self.ready | {"cpu"})

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        if self.ready != {"detached", "cpu"}:
            raise RuntimeError("Can't call numpy() on a tensor that requires grad, or lies on cuda:0.")
        return self.values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, row: int) -> Tensor:
        return Tensor(self.values[row], self.ready)

    @property
    def ndim(self) -> int:
        return self.values.ndim

    def item(self) -> Any:
        return self.values.item()


class Loader:
    """A DataLoader: batches of inputs and labels, as lists of tensors, anew for each pass."""

    def __iter__(self) -> Iterator[list[Tensor]]:
        for start in range(0, 10, 4):
            yield [Tensor(X[start : start + 4]), Tensor(Y[start : start + 4])]


class MapStyle:
    """A torch Dataset: numbered samples, and no end that iteration could see."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[Array, int]:
        return X[index % 10], int(Y[index % 10])


class Rows:
    """A Hugging Face Dataset: a row is a dict with a PIL image."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for pixels, label in zip(PIXELS, Y, strict=True):
            yield {"image": Image.fromarray(pixels), "label": int(label)}  # a name that the data set chose


def opened(data: Any, inputs: list[ModelInput] = ONE, samples: int | None = None) -> OpenedData:
    return open_dataset(data, inputs, PRESETS["imagenet-stretch"], samples)


def inputs_of(data: OpenedData, name: str = "x") -> Array:
    stream = Stream(data.dataset, [int(i) for i in data.indices])
    return np.concatenate([batch.inputs[name] for batch in stream.batches(4)])


def pairs() -> list[tuple[Array, int]]:
    return [(x, int(y)) for x, y in zip(X, Y, strict=True)]


@pytest.mark.parametrize(
    ("give", "labelled"),
    [
        (lambda: X, False),
        (lambda: {"x": X, "labels": Y}, True),
        (lambda: list(X), False),
        (lambda: iter(X), False),
        (lambda: [X[:4], X[4:]], False),
        (lambda: [[x] for x in X], False),
        (pairs, True),
        (lambda: ((X[i : i + 3], Y[i : i + 3]) for i in range(0, 10, 3)), True),
        (lambda: [{"x": x, "y": y} for x, y in zip(X, Y, strict=True)], True),
        (lambda: [({"x": x}, y) for x, y in zip(X, Y, strict=True)], True),
        (Loader, True),
        (MapStyle, True),
    ],
    ids=[
        "array", "dict of arrays", "list", "iterator", "batches", "lists of one", "pairs",
        "generator of batches", "dicts", "dict and label", "DataLoader", "torch Dataset",
    ],
)  # fmt: skip
def test_every_form_gives_the_same_samples(give: Callable[[], Any], labelled: bool) -> None:
    data = opened(give())
    assert np.array_equal(inputs_of(data), X)
    if labelled:
        assert list(data.dataset.annotations or ()) == Y.tolist()
    else:
        assert data.dataset.annotations is None


@pytest.mark.parametrize("give", [lambda: PIXELS, lambda: list(PIXELS), Rows, lambda: [PIXELS[:5], PIXELS[5:]]])
def test_pixels_are_preprocessed_like_files(give: Callable[[], Any], tmp_path: Path) -> None:
    for number, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    files = opened(tmp_path).dataset
    assert files.names[3] == "3.png"
    assert np.array_equal(inputs_of(opened(give())), np.stack([files.load(index)[0]["x"] for index in range(10)]))


def test_gray_pixels_are_images_too() -> None:
    gray = [ModelInput("x", ("N", 1, 20, 24), "float32")]
    preset = PRESETS["gray"]
    whole, one_by_one = (open_dataset(data, gray, preset) for data in (PIXELS[..., 0], list(PIXELS[..., 0])))
    assert np.array_equal(inputs_of(whole), inputs_of(one_by_one))


def test_several_inputs_come_by_name() -> None:
    ids, mask = RNG.integers(0, 9, (6, 4)), np.ones((6, 4), np.float32)
    singly = opened([({"ids": i, "mask": m}, 1) for i, m in zip(ids.tolist(), mask, strict=True)], TWO)
    batched = opened([{"mask": mask, "ids": ids, "label": [1] * 6}], TWO)
    for data in (singly, batched):
        assert np.array_equal(inputs_of(data, "ids"), ids)
        assert inputs_of(data, "ids").dtype == np.int64
        assert list(data.dataset.annotations or ()) == [1] * 6


def test_only_what_is_used_is_read() -> None:
    read = []

    def endless() -> Iterator[Array]:
        for number in itertools.count():
            read.append(number)
            yield X[number % 10]

    data = opened(endless(), samples=7)
    assert (len(data.indices), len(read)) == (7, 7)


def test_memory_does_not_grow_with_the_samples() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        samples = (np.full((3, 256, 256), number, np.float32) for number in range(count))
        data = opened(samples, [ModelInput("x", ("N", 3, "H", "W"), "float32")])
        assert len(data.indices) == count
        largest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return largest

    assert peak(64) < peak(8) + (1 << 20)  # 64 samples are 48 MiB


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda: [], "yields no samples"),
        (lambda: 3, "the int cannot be iterated"),
        (lambda: ["a.png"], "which are no real numbers"),
        (lambda: np.zeros((2, 3, 16, 16), complex), "which are no real numbers"),
        (lambda: np.array(["a", "b"]), "which are no real numbers"),
        (lambda: [np.zeros((80, 60, 4), np.uint8)], r"samples of shape \(80, 60, 4\)"),
        (lambda: [np.zeros((80, 60, 1), np.uint8)], r"samples of shape \(80, 60, 1\)"),
        (lambda: [np.zeros((3, 80, 60), np.uint8)], r"samples of shape \(3, 80, 60\)"),
        (lambda: PIXELS[0], r"shape \(20, 24, 3\), which is that of one image"),
        (lambda: {"x": PIXELS[0]}, r"shape \(20, 24, 3\), which is that of one image"),
        (lambda: [np.zeros((3, 8, 8), np.float32)], r"samples of shape \(3, 8, 8\)"),
        (lambda: [(X[:4], Y[:3])], "a batch of unequal lengths"),
        (lambda: [X[0], PIXELS[0]], "both pixels and ready inputs"),
        (lambda: [{"a": X[0], "b": X[0]}], "no value for the model input 'x', only a, b"),
        (lambda: {"data": X}, "no array for the model input 'x'; it holds data. Give a dict with the keys x."),
        (lambda: [{"X": x} for x in X], "no value for the model input 'x', only X. Yield dicts with the keys x."),
        (lambda: [[[1.0], [2.0, 3.0]]], "no array|no real numbers|of shape"),
    ],
)
def test_what_does_not_fit_is_named(give: Callable[[], Any], message: str) -> None:
    with pytest.raises(BadData, match=message):
        opened(give())


def test_one_array_is_not_enough_for_two_inputs() -> None:
    with pytest.raises(BadData, match="yields one array, but the model has the inputs ids, mask"):
        opened([np.zeros(4)], TWO)


def test_a_labels_file_is_for_image_files(tmp_path: Path) -> None:
    for data in (X, list(X)):
        with pytest.raises(BadData, match="A labels file names image files"):
            open_dataset(data, ONE, PRESETS["raw"], labels=tmp_path / "labels.csv")


def test_a_program_calibrates_and_compares(model_path: Path, tmp_path: Path) -> None:
    calibration = quantkit.calibrate(model_path, iter(X), output=tmp_path / "run")
    assert (calibration.samples, calibration.data.path) == (10, "the iterator")
    comparison = quantkit.compare(calibration, pairs(), targets=["onnxruntime"], precisions=["int8"])
    assert (comparison.labelled, comparison.data) == (10, "the list")
    assert quantkit.load_comparison(tmp_path / "run") == comparison
    assert quantkit.report(comparison, tmp_path / "report.html").stat().st_size > 0


def test_the_same_samples_are_known_again_by_what_they_hold(
    model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = quantkit.calibrate(model_path, list(X), output=tmp_path / "run")

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("counted anew")

    monkeypatch.setattr("quantkit.pipeline.calibration.stage.collect", fail)
    again = quantkit.calibrate(model_path, iter(X), method="minmax", output=tmp_path / "run")
    assert again.data == first.data
    other = X.copy()
    other[3, 0, 0, 0] += 1
    with pytest.raises(AssertionError, match="counted anew"):
        quantkit.calibrate(model_path, iter(other), output=tmp_path / "run")


def test_the_same_bytes_in_another_shape_are_other_samples() -> None:
    free = [ModelInput("x", ("N", 3, "H", "W"), "float32")]
    tall = X.reshape(10, 3, 32, 8)
    for give in (lambda data: data, list):
        marks = [opened(give(data), free).dataset.stamp(0) for data in (X, tall, X.view(np.int32))]
        assert len(set(marks)) == 3
