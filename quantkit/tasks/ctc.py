"""Texts read by a recognition head: greedy decoding of connectionist temporal classification (Graves et al. 2006)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadConfig, BadData
from quantkit.core.figures import Metric
from quantkit.core.reading import LARGEST_TEXT, read_file
from quantkit.core.wording import path_meant
from quantkit.graph.model_file import ModelFile
from quantkit.graph.model_io import ModelInput
from quantkit.measure.edit_distance import edit_distance
from quantkit.measure.intervals import wilson_interval
from quantkit.tasks.base import Caption, Kept, Outputs, Result, Task, TaskSettings
from quantkit.tasks.class_outputs import said_decision
from quantkit.tasks.sample_scores import SampleScores, Scores

LONGEST_KEPT = 96  # characters of a text that is stored for the report
METADATA = ("character", "characters")  # where exporters write the characters into a model


@dataclass(frozen=True)
class Alphabet:
    """What the classes of an output stand for.

    Attributes:
        characters: The characters in order, perhaps without the blank, and without a space at the end; empty if they
            are not known.
        blank: The number of the class that stands for no character; negative counts from the end.
    """

    characters: tuple[str, ...] = ()
    blank: int = 0

    def of(self, classes: int) -> tuple[list[str], int]:
        """Return the text of each class, and the number of the blank.

        Raises:
            BadConfig: The characters are not as many as the classes, the classes but the blank, or those but a space
                at the end.
        """
        blank = self.blank + classes if self.blank < 0 else self.blank
        if not 0 <= blank < classes:
            raise BadConfig(f"The blank {self.blank} is none of {classes} classes.", "Correct blank in [task].")
        known = list(self.characters)
        if not known:
            return [f"{number} " for number in range(classes)], blank
        if len(known) == classes - 2:  # as PaddleOCR writes them
            known.append(" ")
        if len(known) == classes - 1:
            known.insert(blank, "")
        if len(known) != classes:
            raise BadConfig(
                f"There are {len(self.characters)} characters for {classes} classes.",
                "Write one character a line, in the order of the classes: all but the blank, and perhaps a space.",
            )
        return known, blank


class Ctc(Task):
    """The task "ctc". An answer is a text, and an annotation is the right one.

    Args:
        output: The output with the scores; None means the first.
        axis: The axis of a sample along which its classes lie; None means the last.
        alphabet: What the classes stand for.
    """

    name = "ctc"
    annotated_by_text = True
    metrics = (
        Metric(
            name="cer",
            title="character error rate",
            better="lower",
            interval=True,
            hint="Edits that turn a text into the right one, by its length; mean over samples",
        ),
        Metric(name="exact", title="exact texts", unit="share", interval=True, hint="Share of texts that are right"),
    )

    def __init__(self, output: str | None = None, axis: int | None = None, alphabet: Alphabet | None = None) -> None:
        self.output, self.axis = output, axis
        self.alphabet = alphabet or Alphabet()

    def fitted(self, model: ModelFile, settings: TaskSettings) -> Ctc:
        """Choose the output and the characters: those of ``[task] characters``, else those that the model holds.

        Raises BadConfig if an output, an axis or the characters do not fit.
        """
        if settings.threshold is not None:
            raise BadConfig("The task 'ctc' takes no threshold.", "Leave it out.")
        name = settings.output or _only(model.outputs)
        said = said_decision(model.outputs, name, settings.axis, None)
        alphabet = Alphabet(_characters(model, settings.characters), settings.blank or 0)
        own = next(own for own in model.outputs if own.name == name)
        axis = None if said is None or settings.axis is None else said.axis
        count = own.sample_shape[-1 if axis is None else axis] if own.sample_shape else ""
        if isinstance(count, int):
            alphabet.of(count)
        return Ctc(name, axis, alphabet)

    @property
    def about(self) -> str:
        """Say what answers are."""
        known = len(self.alphabet.characters)
        alphabet = f"{known} characters" if known else "numbers of classes, for no characters are known"
        return f"Answers: texts of {alphabet}, from output {self.output}, blank {self.alphabet.blank}."

    def decode(self, outputs: Outputs) -> list[str] | None:
        """Return the text of each sample: the best class at each step, without repetitions and blanks."""
        scores = outputs.get(self.output or next(iter(outputs), ""))
        if scores is None or scores.ndim < 2:
            return None
        moved = scores if self.axis is None else np.moveaxis(scores, self.axis + 1, -1)
        steps = moved.reshape(len(moved), -1, moved.shape[-1])
        texts, blank = self.alphabet.of(steps.shape[-1])
        return ["".join(texts[number] for number in collapsed(row, blank)) for row in best_steps(steps, blank)]

    def scorer(self) -> CtcScorer:
        """Make a scorer."""
        return CtcScorer(self.metrics, known=bool(self.alphabet.characters))

    def keep(self, answers: list[str]) -> Kept:
        """Return ``texts`` (N,), cut to LONGEST_KEPT characters."""
        return {"texts": _stored(answers)}

    def keep_annotations(self, annotations: Sequence[Any]) -> npt.NDArray[Any]:
        """Return the right texts, empty for samples without one."""
        return _stored(["" if own is None else str(own) for own in annotations])

    def stored_fault(self, kept: Kept, annotations: npt.NDArray[Any], classes: Sequence[str]) -> str:
        """Answers and annotations must be texts."""
        return (
            "" if "texts" in kept and kept["texts"].dtype.kind == annotations.dtype.kind == "U" else "it has no texts"
        )

    def agree(self, first: Kept, second: Kept) -> npt.NDArray[np.bool_]:
        """Return True for equal texts."""
        same: npt.NDArray[np.bool_] = first["texts"] == second["texts"]
        return same

    def right(self, kept: Kept, annotations: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return True for texts that are right."""
        right: npt.NDArray[np.bool_] = (kept["texts"] == annotations) & self.annotated(annotations)
        return right

    def annotated(self, annotations: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return True for samples with a right text."""
        known: npt.NDArray[np.bool_] = annotations != ""
        return known

    def caption(self, kept: Kept, sample: int, classes: Sequence[str]) -> Caption:
        """Return the text."""
        return Caption(str(kept["texts"][sample]) or "no text")

    def annotation_caption(self, annotations: npt.NDArray[Any], sample: int, classes: Sequence[str]) -> str:
        """Return the right text."""
        return str(annotations[sample])


class CtcScorer:
    """Scores texts against the right ones, and counts those that are FP32's."""

    def __init__(self, metrics: Sequence[Metric], known: bool) -> None:
        self._scores = SampleScores(metrics)
        self._known = known
        self._equal = self._count = self._written = 0

    def update(self, answers: list[str], reference: list[str], annotations: Sequence[Any] | None) -> None:
        """Count one batch of both models' texts. Raises BadInput for annotations that are no texts."""
        self._equal += sum(own == other for own, other in zip(answers, reference, strict=True))
        self._written += sum(map(bool, reference))
        self._count += len(answers)
        if annotations is None or all(own is None for own in annotations):
            return
        if not self._known:
            raise BadConfig(
                "Texts can only be compared with the right ones if the model's characters are known.",
                "Name a file with one character a line as characters in [task].",
            )
        self._scores.update(_scored(answers, annotations), _scored(reference, annotations))

    def result(self) -> Result:
        """Return error rates with intervals and changes, and the share of texts that are FP32's."""
        if not self._count:
            return Result()
        warnings = () if self._written else ("FP32 reads no text in any sample: the blank or the data is wrong.",)
        agreement = wilson_interval(self._equal, self._count) if self._written else None
        return Result(self._scores.metrics(), self._scores.changes(), agreement, warnings)


def best_steps(scores: npt.NDArray[Any], blank: int) -> npt.NDArray[np.int64]:
    """Return the best class of each step of (N, T, classes) scores, (N, T); blank where they are not finite."""
    best: npt.NDArray[np.int64] = scores.argmax(axis=-1)
    if scores.dtype.kind == "f":
        top = np.take_along_axis(scores, best[..., None], -1)[..., 0]
        best = np.where(np.isfinite(top), best, blank)
    return best


def collapsed(steps: npt.NDArray[np.int64], blank: int) -> list[int]:
    """Return the classes of (T,) steps without repetitions, then without blanks."""
    first = np.ones(len(steps), np.bool_)
    first[1:] = steps[1:] != steps[:-1]
    found: list[int] = steps[first & (steps != blank)].tolist()
    return found


def _scored(texts: Sequence[str], annotations: Sequence[Any]) -> Scores:
    errors = np.full((2, len(texts)), np.nan)
    for row, (text, right) in enumerate(zip(texts, annotations, strict=True)):
        if right is None:
            continue
        if not isinstance(right, str):
            raise BadData(f"The annotation {right!r:.40} is no text.", "Give the right text of each sample.")
        errors[:, row] = edit_distance(text, right) / max(len(right), 1), text == right
    return {"cer": errors[0], "exact": errors[1]}


def _only(outputs: Sequence[ModelInput]) -> str:
    """Return the only floating-point output, or the only one with steps and classes. Raises BadConfig otherwise."""
    floats = [own for own in outputs if own.dtype.startswith("float")]
    steps = [own for own in floats if len(own.shape) == 3]
    for some in (floats, steps):
        if len(some) == 1:
            return some[0].name
    raise BadConfig(
        f"It is not certain which output holds the scores of characters: {', '.join(own.name for own in outputs)}.",
        "Name it (--task-output, task_output=).",
    )


def _characters(model: ModelFile, file: Path | None) -> tuple[str, ...]:
    if file is None:
        held = {own.key: own.value for own in model.graph_only.metadata_props}
        text = next((held[key] for key in METADATA if held.get(key)), "")
    else:
        try:
            text = read_file(file, LARGEST_TEXT, BadConfig, "file of characters").decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            hint = f"{path_meant(file)}Write one a line, in UTF-8."
            raise BadConfig(f"The file of characters {file} cannot be read.", hint) from error
        if not text.strip("\r\n"):
            raise BadConfig(f"The file of characters {file} is empty.", "Write one character a line.")
    lines = [line.rstrip("\r") for line in text.split("\n")]
    return tuple(lines[:-1] if lines[-1] == "" else lines)


def _stored(texts: Sequence[str]) -> npt.NDArray[Any]:
    return np.array([text[:LONGEST_KEPT] for text in texts], dtype=f"<U{LONGEST_KEPT}")
