"""A folder of .npz: one sample a file, each of its own shape, with its target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quantkit.core.errors import BadData
from quantkit.core.presets import PRESETS
from quantkit.datasets import OpenedData, Stream, Unreadable, open_dataset
from quantkit.graph.model_io import ModelInput

INPUTS = (ModelInput("x", ("N", "T"), "float32"), ModelInput("state", (2, "N", 4), "float32", 1))
STATE = np.zeros((2, 4))


def folder_of(root: Path, *samples: dict[str, object]) -> Path:
    folder = root / "samples"
    folder.mkdir()
    for number, sample in enumerate(samples):
        np.savez(folder / f"{number:03}.npz", **sample)  # type: ignore[arg-type]
    return folder


def opened(folder: Path, inputs: tuple[ModelInput, ...] = INPUTS, outputs: tuple[str, ...] = ()) -> OpenedData:
    return open_dataset(folder, inputs, PRESETS["raw"], outputs=outputs)


def test_each_file_is_a_sample_with_or_without_the_batch_axis(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        {"x": np.ones(5), "state": STATE},
        {"x": np.ones((1, 7)), "state": STATE[:, None]},
    )
    data = opened(folder).dataset
    samples = [data.load(index)[0] for index in range(2)]
    assert [sample["x"].shape for sample in samples] == [(5,), (7,)]
    assert [sample["state"].shape for sample in samples] == [(2, 4), (2, 4)]
    assert samples[0]["x"].dtype == np.float32
    assert data.annotations is None


def test_targets_are_labels_texts_or_arrays_named_like_outputs(tmp_path: Path) -> None:
    plain = {"x": np.ones(5), "state": STATE}
    folder = folder_of(
        tmp_path,
        {**plain, "label": 3},
        {**plain, "label": "a line"},
        {**plain, "y": np.arange(4.0)},
        {**plain, "level": np.ones(1), "other": np.ones(1)},
        plain,
    )
    found = opened(folder, outputs=("level", "next")).dataset.annotations
    assert found is not None
    assert found[0] == 3
    assert found[1] == "a line"
    assert found[2].tolist() == [0, 1, 2, 3]
    assert {name: own.tolist() for name, own in found[3].items()} == {"level": [1]}
    assert found[4] is None


def test_files_that_cannot_be_read_are_skipped_and_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, *({"x": np.ones(5), "state": STATE} for _ in range(40)))
    (folder / "001.npz").write_bytes(b"PK no archive")
    np.savez(folder / "002.npz", x=np.ones(5))
    found = opened(folder)
    stream = Stream(found.dataset, range(40), {"x": 0, "state": 1})
    assert sum(len(batch.indices) for batch in stream.batches(4)) == 38
    assert "no readable .npz" in stream.skipped[1]
    assert "has no array for the model input 'state'" in stream.skipped[2]


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"x": np.ones(5)}, "has no array for the model input 'state'; it holds x"),
        ({"x": np.ones((2, 5)), "state": STATE}, r"gives 'x' the shape \(2, 5\), but the model takes"),
        ({"x": np.array(["a"]), "state": STATE}, "gives 'x' values of type"),
    ],
)
def test_a_first_sample_that_does_not_fit_is_told(tmp_path: Path, sample: dict[str, object], message: str) -> None:
    with pytest.raises(BadData, match=message):
        opened(folder_of(tmp_path, sample))


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"x": np.ones(5), "state": STATE}, {"x": np.array([{}]), "state": STATE})
    data = opened(folder).dataset
    with pytest.raises(Unreadable, match=r"no readable \.npz"):
        data.load(1)


def test_targets_that_fill_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from quantkit.datasets import sample_files

    monkeypatch.setattr(sample_files, "MOST_TARGETS", 100)
    folder = folder_of(tmp_path, {"x": np.ones(5), "state": STATE, "y": np.ones(50)})
    with pytest.raises(BadData, match=r"The targets in .* take more than"):
        opened(folder)


def test_a_folder_with_images_stays_one_of_images(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"x": np.ones(5)})
    (folder / "a.png").write_bytes(b"")
    with pytest.raises(BadData, match="images feed one"):
        opened(folder)
