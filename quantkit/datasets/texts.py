"""Texts from a table, tokenized for a model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quantkit.core.errors import BadData
from quantkit.core.preprocess import Preparation
from quantkit.datasets.base import Dataset, Inputs, Request, Source
from quantkit.datasets.labels import index_labels
from quantkit.datasets.text_settings import TEXT, TextSettings
from quantkit.datasets.text_table import TextRow, read_texts
from quantkit.datasets.tokens import Tokens, open_tokens


@dataclass(frozen=True)
class Half:
    """The annotation of a text whose embedding is compared with that of another text.

    Attributes:
        pair: The number of the pair.
        score: How similar both are, by people; None if nobody says.
    """

    pair: int
    score: float | None


@dataclass(frozen=True, kw_only=True)
class TextDataset(Dataset):
    """Texts, or pairs of texts, each a sample."""

    source: str
    names: Sequence[str]
    texts: Sequence[tuple[str, str | None]]
    tokens: Tokens
    preprocess: Preparation
    classes: Sequence[str] = ()
    annotations: Sequence[Any] | None = None

    def size(self, index: int) -> int:
        """Return the number of characters."""
        return sum(len(text) for text in self.texts[index] if text is not None)

    def digest(self, index: int) -> bytes:
        """Return the SHA-256 of the sample's texts and of how they become tokens."""
        digest = hashlib.sha256(repr((self.texts[index], sorted(self.preprocess.settings.items()))).encode())
        return digest.digest()

    def load(self, index: int) -> tuple[Inputs, bytes]:
        """Return the sample's tokens, and what identifies it."""
        return self.tokens.encoded(*self.texts[index]), self.digest(index)


class TextTable:
    """A file of texts."""

    def matches(self, path: Path) -> bool:
        """True for any file; what is in it decides."""
        return path.is_file()

    def open(self, request: Request) -> Source:
        """Open the texts for a model that takes tokens.

        Raises BadData if the table or the tokenizer does not fit, and BackendMissing without the package tokenizers.
        """
        return _opened(request)


def _opened(request: Request) -> Source:
    settings, source = request.text, str(request.path)
    if request.labels is not None:
        raise BadData(f"A labels file names image files; {source} has none.", "Put the labels into a column.")
    rows = read_texts(request.path, settings)
    apart = settings.pairs == "apart"
    texts = [half for row in rows for half in _halves(row, apart)]
    tokens = open_tokens(settings, request.inputs)
    if tokens.padding == "longest":
        tokens = replace(tokens, max_length=max(1, *(tokens.length(*text) for text in texts)), padding="max")
    annotations, classes = _annotations(rows, request, apart)
    names = [f"line {row.line}{half}" for row in rows for half in ("ab"[: len(_apart(row))] if apart else ("",))]
    dataset = TextDataset(
        source=source,
        names=names,
        texts=texts,
        tokens=tokens,
        preprocess=_preparation(settings, tokens),
        classes=classes,
        annotations=annotations,
    )
    notes = [f"Texts are {dataset.preprocess.describe()}."]
    warnings = []
    if not any(any(text for text in own) for own in texts):
        warnings.append(f"All texts of {source} are empty.")
    if apart and annotations is None:
        warnings.append(f"No line of {source} has a second text: there are no pairs to compare.")
    return Source(dataset, ordered=apart, notes=tuple(notes), warnings=tuple(warnings))


def _halves(row: TextRow, apart: bool) -> list[tuple[str, str | None]]:
    return [(text, None) for text in _apart(row)] if apart else [(row.text, row.pair)]


def _apart(row: TextRow) -> list[str]:
    return [row.text] if row.pair is None else [row.text, row.pair]


def _annotations(rows: Sequence[TextRow], request: Request, apart: bool) -> tuple[Sequence[Any] | None, Sequence[str]]:
    """Return the annotation of each sample: a class index, a number, or the half of a pair; and the classes."""
    if apart:
        pairs = (None if row.pair is None else Half(number, row.score) for number, row in enumerate(rows))
        halves = [half for half, row in zip(pairs, rows, strict=True) for _ in _apart(row)]
        return None if all(half is None for half in halves) else halves, tuple(request.classes or ())
    indices, classes = index_labels([row.label for row in rows], request.classes, str(request.path), True)
    if indices is not None:
        return indices, classes
    scores = [row.score for row in rows]
    return (None if all(score is None for score in scores) else scores), classes


def _preparation(settings: TextSettings, tokens: Tokens) -> Preparation:
    length = tokens.max_length
    filled = {
        "none": f"cut to {length} tokens, each its own length",
        "max": f"cut and filled up to {length} tokens",
    }.get(str(tokens.padding), f"cut to {length} tokens, filled up to multiples of {tokens.padding}")
    return Preparation(
        name=TEXT,
        description=f"tokenized by {settings.tokenizer}, {filled}",
        settings={
            "tokenizer": str(settings.tokenizer),
            "sha256": tokens.sha256,
            "max_length": length,
            "padding": tokens.padding,
        },
    )
