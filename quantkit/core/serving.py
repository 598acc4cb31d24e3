"""How many requests a second a model answers, and how long they take, with so many at a time."""

from __future__ import annotations

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from quantkit.core.record import Record

ENOUGH = 0.95  # of the most requests a second: more streams only make requests wait


class Load(Record):
    """What one number of streams gives. A request is a batch.

    Attributes:
        streams: The requests that are under way at a time, on each device.
        per_second: The requests that are answered a second.
        p50_ms: The median time of a request, with copies to and from the device.
        p99_ms: The time that one of a hundred requests exceeds.
        joules: The energy that the devices took for a request; None if they do not tell.
    """

    streams: PositiveInt
    per_second: PositiveFloat
    p50_ms: NonNegativeFloat
    p99_ms: NonNegativeFloat
    joules: NonNegativeFloat | None = None


class Serving(Record):
    """What a model gives as a server, by the number of streams.

    Attributes:
        devices: The devices that answered at the same time.
        batch: The samples of a request.
        loads: What each number of streams gives, in rising order.
        beyond: The device's words where it could not hold further streams that were asked for; None if it held all.
    """

    devices: tuple[str, ...]
    batch: PositiveInt
    loads: tuple[Load, ...] = Field(min_length=1)
    beyond: str | None = None

    @property
    def most(self) -> Load:
        """The load with the most requests a second."""
        return max(self.loads, key=lambda load: load.per_second)

    @property
    def knee(self) -> Load:
        """The fewest streams with nearly the most requests a second (ENOUGH): further ones only add waiting."""
        enough = ENOUGH * self.most.per_second
        return next(load for load in self.loads if load.per_second >= enough)


class Together(Record):
    """A model that answered on several devices at the same time.

    Attributes:
        serving: What all devices give together.
    """

    target: str
    precision: str
    variant: str
    serving: Serving
