"""A metric of the user's own: a Python function, named in the configuration or passed to the API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BadConfig
from quantkit.core.figures import Metric, Unit
from quantkit.tasks.base import Outputs

Function = Callable[[list[Any], list[Any]], Any]
"""A function of the outputs and annotations of samples that returns one number per sample, or one for all of them.

One number per sample makes intervals and a paired test, and is asked for batch by batch. A function that returns a
single number, no array, gets all samples at once; if it cannot be tried on one sample before, it says so by the
attribute ``of_all = True``.

An output is the sample's array, or a dict of arrays by name if the model has several outputs. An annotation is that of
the data set, such as a class index, or None. The function may have the attributes ``better`` ("higher" or "lower") and
``unit`` ("share", "ms" …), which decide how its values are displayed.
"""


@dataclass(frozen=True)
class OwnMetric:
    """A function and the meaning of its values."""

    metric: Metric
    function: Function
    of_all_samples: bool = False

    @classmethod
    def of(cls, function: Function) -> OwnMetric:
        """Make the metric of a function, with the function's name. Raises BadConfig for what cannot be one."""
        if not callable(function):
            raise BadConfig(
                f"The metric {function!r:.40} is no function.", "Give a function of (outputs, annotations)."
            )
        name = getattr(function, "__name__", type(function).__name__)
        if not name.isidentifier():
            raise BadConfig(f"The metric {name!r} has no name to be called by.", "Define it with def.")
        unit: Any = getattr(function, "unit", "")
        better: Any = getattr(function, "better", "higher")
        for attribute, value, known in (("unit", unit, get_args(Unit)), ("better", better, ("higher", "lower"))):
            if value not in known:
                raise BadConfig(
                    f"The metric {name!r} has {attribute} = {value!r}.",
                    f"Choose one of: {', '.join(map(repr, known))}.",
                )
        hint = (getattr(function, "__doc__", None) or "").strip().split("\n")[0]
        return cls(
            Metric(name=name, title=name.replace("_", " "), unit=unit, better=better, hint=hint, interval=True),
            function,
            bool(getattr(function, "of_all", False)),
        )

    def values(self, outputs: Outputs, annotations: Sequence[Any]) -> npt.NDArray[np.float64] | None:
        """Call the function for one batch, unless it is known to be of all samples.

        Args:
            outputs: The outputs by name.
            annotations: The annotation of each sample.

        Returns:
            One float64 per sample, (N,); None if the function returns one number for all samples.

        Raises:
            BadInput: The function fails, or does not return one number per sample.
        """
        count = len(annotations)
        found = None if self.of_all_samples else self._called(samples_of(outputs, count), annotations)
        if found is None or found.ndim == 0:
            return None
        if found.shape != (count,):
            raise BadConfig(
                f"The metric {self.metric.name!r} returned shape {found.shape} for {count} samples.",
                "Return one number for each sample, or one number for all of them.",
            )
        self._check_share(found)
        return found

    def of_all(self, samples: list[Any], annotations: Sequence[Any]) -> float:
        """Return the function's number for all samples. Raises BadConfig if it fails or returns no number."""
        found = self._called(samples, annotations)
        if found.ndim or np.isinf(found):
            what = f"shape {found.shape}" if found.ndim else f"{found}"
            raise BadConfig(
                f"The metric {self.metric.name!r} returned {what} for all samples.", "Return one finite number."
            )
        self._check_share(found[None])
        return float(found)

    def _called(self, samples: list[Any], annotations: Sequence[Any]) -> npt.NDArray[np.float64]:
        try:
            return np.asarray(self.function(samples, list(annotations)), np.float64)
        except Exception as error:
            raise BadConfig(
                f"The metric {self.metric.name!r} failed with {type(error).__name__}: {error}.", "Fix its function."
            ) from error

    def _check_share(self, found: npt.NDArray[np.float64]) -> None:
        if self.metric.is_share and ((found < 0) | (found > 1)).any():
            raise BadConfig(
                f"The metric {self.metric.name!r} is a share, but returned {found[(found < 0) | (found > 1)][0]:g}.",
                "Return numbers from 0 to 1, or give it no unit.",
            )


def samples_of(outputs: Outputs, count: int) -> list[Any]:
    """Return the output of each sample: an array, or a dict of arrays by name if there are several outputs."""
    alone = next(iter(outputs)) if len(outputs) == 1 else None
    return [outputs[alone][i] if alone else {n: v[i] for n, v in outputs.items()} for i in range(count)]
