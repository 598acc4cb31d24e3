"""The time from a file to an answer: a whole pipeline's, not only the network's."""

from __future__ import annotations

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from quantkit.core.record import Record

PARTS = {
    "decode": "reading and decoding",
    "preprocess": "preprocessing",
    "copies": "copies to and from the device",
    "network": "the network",
    "answer": "making answers",
}
"""The parts of a pipeline in order, by name, in words."""


class EndToEnd(Record):
    """What one sample takes from its file to its answer, in milliseconds: medians over samples, one at a time.

    Attributes:
        decode: Reading the file and decoding it.
        preprocess: From pixels to the model's input.
        copies: Between host and device; 0 on a CPU.
        network: The network alone.
        answer: From outputs to answers: argmax, boxes and their non-maximum suppression, or text.
        per_second: Samples per second if files are read ahead in threads while the network runs.
        samples: The number of samples that were timed.
    """

    decode: NonNegativeFloat
    preprocess: NonNegativeFloat
    copies: NonNegativeFloat
    network: NonNegativeFloat
    answer: NonNegativeFloat
    per_second: PositiveFloat
    samples: PositiveInt

    @property
    def parts(self) -> dict[str, float]:
        """The milliseconds of each part, in order."""
        return {name: float(getattr(self, name)) for name in PARTS}

    @property
    def total(self) -> float:
        """The milliseconds of one sample, one part after the other."""
        return sum(self.parts.values())

    @property
    def bottleneck(self) -> str:
        """The name of the part that takes longest."""
        return max(self.parts, key=lambda name: self.parts[name])
