"""The task "ctc": greedy decoding, alphabets of every layout, error rates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import quantkit
from quantkit.core.errors import BadConfig, BadData
from quantkit.tasks.base import TaskSettings
from quantkit.tasks.ctc import Alphabet, Ctc
from tests.conftest import CLASSES, Quantkit
from tests.graphs.sequences import line_model
from tests.graphs.small import network, opened


def shares(text: list[int], classes: int = 4) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[text][None]


@pytest.mark.parametrize(
    ("steps", "alphabet", "expected"),
    [
        ([0, 1, 1, 0, 1, 2], Alphabet(tuple("abc")), "aab"),
        ([3, 0, 0, 3, 0, 1], Alphabet(tuple("abc"), -1), "aab"),
        ([0, 1, 1, 0, 1, 2], Alphabet(("-", *"abc")), "aab"),
        ([1, 3, 2], Alphabet(tuple("ab")), "a b"),  # a space at the end, as PaddleOCR has it
        ([0, 0], Alphabet(tuple("abc")), ""),
        ([1, 3], Alphabet(), "1 3 "),
    ],
)
def test_repetitions_go_before_blanks(steps: list[int], alphabet: Alphabet, expected: str) -> None:
    assert Ctc("y", None, alphabet).decode({"y": shares(steps)}) == [expected]
    across = np.moveaxis(shares(steps), 2, 1)
    assert Ctc("y", 0, alphabet).decode({"y": across}) == [expected]


def test_steps_that_are_not_finite_are_blank() -> None:
    scores = shares([1, 2])
    scores[0, 0] = np.nan
    assert Ctc("y", None, Alphabet(tuple("abc"))).decode({"y": scores}) == ["b"]


@pytest.mark.parametrize("count", [1, 5])
def test_characters_that_do_not_fit_are_told(count: int) -> None:
    with pytest.raises(BadConfig, match=f"There are {count} characters for 4 classes"):
        Alphabet(("x",) * count).of(4)
    with pytest.raises(BadConfig, match="blank 4 is none of 4 classes"):
        Alphabet((), 4).of(4)


def test_error_rates_are_edits_by_length() -> None:
    scorer = Ctc("y", None, Alphabet(tuple("abc"))).scorer()
    scorer.update(["abcd", "", "x"], ["abcd", "ab", "x"], ["abce", "ab", None])
    result = scorer.result()
    assert result.metrics["cer"].value == pytest.approx((1 / 4 + 1) / 2)
    assert result.metrics["exact"].value == 0
    assert result.agreement is not None
    assert result.agreement.value == pytest.approx(2 / 3)
    assert (result.changes["exact"].lost, result.changes["exact"].won) == (1, 0)
    with pytest.raises(BadData, match="The annotation 5 is no text"):
        scorer.update(["a"], ["a"], [5])


def test_no_text_anywhere_is_no_agreement() -> None:
    scorer = Ctc("y", None, Alphabet(tuple("abc"))).scorer()
    scorer.update(["", ""], ["", ""], None)
    assert scorer.result().agreement is None
    assert "reads no text in any sample" in scorer.result().warnings[0]


def test_texts_without_characters_cannot_be_scored() -> None:
    with pytest.raises(BadConfig, match="if the model's characters are known"):
        Ctc("y").scorer().update(["1 "], ["1 "], ["a"])


def test_characters_are_the_models_own_where_it_has_them(tmp_path: Path) -> None:
    model = line_model()
    model.metadata_props.add(key="character", value="\n".join("abcdefghij"))
    own = Ctc().fitted(opened(model, tmp_path), TaskSettings())
    assert own.alphabet == Alphabet(tuple("abcdefghij"))
    assert own.output == "shares"
    assert "10 characters" in own.about
    (tmp_path / "other.txt").write_text("a\r\nb\r\n")
    with pytest.raises(BadConfig, match="There are 2 characters for 12 classes"):
        Ctc().fitted(opened(model, tmp_path), TaskSettings(characters=tmp_path / "other.txt"))
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(BadConfig, match=r"empty\.txt is empty"):
        Ctc().fitted(opened(model, tmp_path), TaskSettings(characters=tmp_path / "empty.txt"))
    with pytest.raises(BadConfig, match="takes no threshold"):
        Ctc().fitted(opened(model, tmp_path), TaskSettings(threshold=0.5))
    two = network("(float[N,4] x) => (float[N,4] a, float[N,4] b) { a = Relu(x) b = Tanh(x) }")
    with pytest.raises(BadConfig, match="not certain which output holds the scores of characters: a, b"):
        Ctc().fitted(opened(two, tmp_path), TaskSettings())


def test_labels_of_images_are_texts(invoked: Quantkit, images: Path, tmp_path: Path) -> None:
    names = sorted(path.relative_to(images).as_posix() for path in images.rglob("*.png"))
    (images / "labels.csv").write_text("\n".join(f"{name},00{number}" for number, name in enumerate(names)))
    model = line_model()
    model.metadata_props.add(key="character", value="\n".join("0123456789"))
    onnx.save(model, tmp_path / "lines.onnx")
    settings = '[preprocess]\npreset = "gray"\nsize = [8, 16]\n[task]\nname = "ctc"\n'
    (tmp_path / "quantkit.toml").write_text(settings)
    assert invoked("calibrate", "lines.onnx", "--data", images, "-o", "out", "--no-export").returncode == 0
    done = invoked("compare", "out", "--data", images, "--target", "onnxruntime", "--rounds", "3", "--seconds", "0.3")
    assert done.returncode == 0, done.stderr
    found = quantkit.load_comparison(tmp_path / "out")
    assert found.labelled == len(names) == 6 * len(CLASSES)
    assert found.rows[0].metrics["cer"].value > 0
    assert found.predictions is not None
    assert found.predictions.labels.tolist() == [f"00{names.index(name)}" for name in found.predictions.names]
