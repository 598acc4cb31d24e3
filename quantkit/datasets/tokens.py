"""Turns texts into the inputs of a text model, by a Hugging Face ``tokenizer.json``."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BackendMissing, BadData
from quantkit.core.reading import read_file
from quantkit.core.wording import line_of, path_meant
from quantkit.datasets.text_settings import TOKENIZER_FILE, TextSettings
from quantkit.graph.model_io import ModelInput

LARGEST_TOKENIZER = 256 << 20  # bytes
USUAL_LENGTH = 512  # tokens
PADS = ("[PAD]", "<pad>", "<|padding|>", "<|endoftext|>")
INTEGERS = ("int32", "int64")
ROLES = {"mask": "mask", "type": "types", "segment": "types", "position": "positions", "ids": "ids", "token": "ids"}


def takes_tokens(inputs: Sequence[ModelInput]) -> bool:
    """True for a model of texts: all inputs are integers with one value for each token."""
    return bool(inputs) and all(own.dtype in INTEGERS and len(own.sample_shape) == 1 for own in inputs)


@dataclass(frozen=True)
class Tokens:
    """A tokenizer, and how it fills a model's inputs.

    Attributes:
        tokenizer: The ``tokenizers.Tokenizer``, which cuts to ``max_length`` and fills up nothing.
        roles: What each input takes: "ids", "mask", "types" or "positions".
        inputs: The model's inputs.
        max_length: The most tokens of a sample.
        padding: "none", "max", or the multiple that lengths are filled up to.
        pad: The token, and its type, to fill up with.
        sha256: The digest of the tokenizer's file.
    """

    tokenizer: Any
    roles: dict[str, str]
    inputs: Sequence[ModelInput]
    max_length: int
    padding: str | int
    pad: tuple[int, int]
    sha256: str

    def encoded(self, text: str, pair: str | None = None) -> dict[str, npt.NDArray[Any]]:
        """Return the inputs of one sample, each (length,), in the model's dtypes."""
        found = self.tokenizer.encode(text, pair)
        length = self.filled(len(found.ids))
        more = length - len(found.ids)
        values = {
            "ids": [*found.ids, *[self.pad[0]] * more],
            "mask": [1] * len(found.ids) + [0] * more,
            "types": [*found.type_ids, *[self.pad[1]] * more],
            "positions": range(length),
        }
        return {own.name: np.array(values[self.roles[own.name]], own.dtype) for own in self.inputs}

    def length(self, text: str, pair: str | None = None) -> int:
        """Return the number of tokens, before anything is filled up."""
        return len(self.tokenizer.encode(text, pair).ids)

    def filled(self, length: int) -> int:
        """Return what a length is filled up to: 1 at least, and ``max_length`` at most."""
        if self.padding == "max":
            return self.max_length
        multiple = 1 if isinstance(self.padding, str) else self.padding
        return min(max(1, math.ceil(length / multiple)) * multiple, max(self.max_length, length))


def open_tokens(settings: TextSettings, inputs: Sequence[ModelInput]) -> Tokens:
    """Load a tokenizer for a model.

    Args:
        settings: Names the file, the length and the padding; "longest" is left to the data.
        inputs: The model's inputs.

    Returns:
        The tokenizer.

    Raises:
        BadData: There is no tokenizer, it cannot be read, or it does not fit the model.
        BackendMissing: The package ``tokenizers`` is not installed.
    """
    if settings.tokenizer is None:
        raise BadData(
            "A model of texts needs its tokenizer.",
            f"Put its {TOKENIZER_FILE} beside the model, or name it as tokenizer in [data.text].",
        )
    roles = _roles(inputs)
    tokenizer, sha256 = _loaded(settings.tokenizer)
    own = tokenizer.truncation
    tokenizer.no_padding()
    fixed = {size for one in inputs for size in one.sample_shape if isinstance(size, int)}
    if len(fixed) > 1:
        raise BadData(f"The model's inputs have the lengths {sorted(fixed)}.", "Export it with one length.")
    length = settings.max_length or next(iter(fixed), None) or (own or {}).get("max_length") or USUAL_LENGTH
    padding: str | int = settings.padding or ("max" if fixed else "none")
    if fixed and (length, padding) != (next(iter(fixed)), "max"):
        raise BadData(
            f"The model takes exactly {next(iter(fixed))} tokens.",
            "Leave max_length and padding out of [data.text].",
        )
    try:
        tokenizer.enable_truncation(length)
    except Exception as error:
        raise BadData(f"Texts cannot be cut to {length} tokens ({line_of(error)}).", "Give more.") from error
    _check_vocabulary(tokenizer, settings.tokenizer, next(one for one in inputs if roles[one.name] == "ids"))
    return Tokens(tokenizer, roles, tuple(inputs), int(length), padding, _pad(tokenizer), sha256)


def _loaded(path: Path) -> tuple[Any, str]:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise BackendMissing(
            "Texts are tokenized by the package tokenizers, which is not installed.",
            "Install it: pip install 'quantkit-int8[text]'.",
        ) from error
    try:
        data = read_file(path, LARGEST_TOKENIZER, BadData, "tokenizer")
        return Tokenizer.from_buffer(data), hashlib.sha256(data).hexdigest()
    except OSError as error:
        raise BadData(
            f"The tokenizer {path} cannot be read ({error.strerror}).", f"{path_meant(path)}Check its path."
        ) from error
    except BadData:
        raise
    except Exception as error:
        raise BadData(
            f"{path} is no tokenizer ({line_of(error)}).",
            f"Give the {TOKENIZER_FILE} that Hugging Face's tokenizers writes.",
        ) from error


def _roles(inputs: Sequence[ModelInput]) -> dict[str, str]:
    """Return what each input takes, told by its name; the only input takes the tokens."""
    if len(inputs) == 1:
        return {inputs[0].name: "ids"}
    found: dict[str, str] = {}
    for own in inputs:
        name = own.name.lower()
        role = next(
            (role for part, role in ROLES.items() if part in name and (part != "token" or "type" not in name)), ""
        )
        if not role or role in found.values():
            raise BadData(
                f"The model input {own.name!r} is none that a text fills: input_ids, attention_mask, token_type_ids or "
                "position_ids.",
                "Give its inputs as a folder of .npz, one sample in each.",
            )
        found[own.name] = role
    if "ids" not in found.values():
        raise BadData(f"No input of the model takes tokens: {', '.join(found)}.", "Give its inputs as .npz.")
    return found


def _pad(tokenizer: Any) -> tuple[int, int]:
    """Return the token to fill up with and its type, as the tokenizer's file says, else by the usual names."""
    known = next((found for name in PADS if (found := tokenizer.token_to_id(name)) is not None), 0)
    return int(known), 0


def _check_vocabulary(tokenizer: Any, path: Path, ids: ModelInput) -> None:
    """Raise BadData if a token's number is beyond the table that the model looks it up in."""
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest < 0:
        raise BadData(f"The tokenizer {path} has no tokens.", "Give the model's own.")
    if ids.rows is not None and largest >= ids.rows:
        raise BadData(
            f"The tokenizer {path} has tokens up to {largest}, but the model's embedding of {ids.name!r} has "
            f"{ids.rows} rows.",
            "Give the tokenizer that the model was trained with.",
        )
