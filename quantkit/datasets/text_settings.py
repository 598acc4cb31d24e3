"""The ``[data.text]`` table: which columns hold texts, and how they become tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from quantkit.core.record import Record

TEXT = "text"  # the name of the preparation
TOKENIZER_FILE = "tokenizer.json"


class TextSettings(Record):
    """``[data.text]``: texts and their tokens.

    Attributes:
        column: The column of the text; None means "text".
        pair: The column of a second text; None means "text_pair", if there is one.
        pairs: "together" gives both texts to the model as one sample; "apart" makes a sample of each, whose embeddings
            are compared.
        label: The column of the class; None means "label", if there is one.
        score: The column of a number, such as the similarity of a pair; None means "score", if there is one.
        tokenizer: The ``tokenizer.json``; None looks for it beside the model.
        max_length: The most tokens of a text, which is cut to them; None means the model's length where it is fixed,
            else the tokenizer's own limit, else 512.
        padding: "none" leaves each text its own length, "longest" fills up to the longest one of the data, "max" to
            ``max_length``, and a number to its next multiple; None means "none", or "max" where the model's length is
            fixed.
    """

    column: str | None = None
    pair: str | None = None
    pairs: Literal["together", "apart"] = "together"
    label: str | None = None
    score: str | None = None
    tokenizer: Path | None = None
    max_length: int | None = Field(default=None, gt=0)
    padding: Literal["none", "longest", "max"] | Annotated[int, Field(gt=0)] | None = None

    def beside(self, model: Path) -> TextSettings:
        """Return the settings with the tokenizer that lies beside a model, or in the folder above, if none is named."""
        if self.tokenizer is not None:
            return self
        folder = model.absolute().parent
        found = next((own for own in (folder, folder.parent) if (own / TOKENIZER_FILE).is_file()), None)
        return self if found is None else self.model_copy(update={"tokenizer": found / TOKENIZER_FILE})

    @property
    def of_samples(self) -> dict[str, object]:
        """What decides the samples, without the columns of annotations."""
        return self.model_dump(mode="json", exclude={"label", "score"})
