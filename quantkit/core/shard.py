"""The part of the calibration samples that one machine counts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from quantkit.core.errors import BadConfig


@dataclass(frozen=True)
class Shard:
    """Part ``number`` (from 1) of ``of``: every ``of``-th sample."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "2/8". Raises BadConfig."""
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        shard = cls(int(match[1]), int(match[2])) if match else cls(0, 0)
        if not 1 <= shard.number <= shard.of:
            raise BadConfig(f"{text!r} is not a shard.", "Give its number and how many there are, such as 2/8.")
        return shard

    def positions(self, samples: int, step: int) -> list[int]:
        """Return the positions of the shard's samples, in order.

        Args:
            samples: The number of all samples.
            step: The size of runs that stay together: the model's fixed batch.
        """
        return [p for p in range(samples) if p // step % self.of == self.number - 1]

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


WHOLE = Shard()
