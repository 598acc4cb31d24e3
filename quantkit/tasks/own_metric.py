"""A metric of the user's own: a Python function, named in the configuration or passed to the API."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from quantkit.core.errors import BadConfig
from quantkit.core.figures import Metric, Unit
from quantkit.tasks.base import Outputs

Function = Callable[[list[Any], list[Any]], Any]
"""A function of the outputs and annotations of a batch's samples that returns one number per sample.

An output is the sample's array, or a dict of arrays by name if the model has several outputs. An annotation is that of
the data set, such as a class index, or None. The function may have the attributes ``better`` ("higher" or "lower") and
``unit`` ("share", "ms" …), which decide how its values are displayed.
"""


@dataclass(frozen=True)
class OwnMetric:
    """A function and the meaning of its values."""

    metric: Metric
    function: Function

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
        )

    def values(self, outputs: Outputs, annotations: Sequence[Any]) -> Any:
        """Call the function for one batch.

        Args:
            outputs: The outputs by name.
            annotations: The annotation of each sample.

        Returns:
            One float64 per sample, (N,).

        Raises:
            BadInput: The function fails, or does not return one number per sample.
        """
        count = len(annotations)
        alone = next(iter(outputs)) if len(outputs) == 1 else None
        samples = [outputs[alone][i] if alone else {n: v[i] for n, v in outputs.items()} for i in range(count)]
        try:
            found = np.atleast_1d(np.asarray(self.function(samples, list(annotations)), np.float64))
        except Exception as error:
            raise BadConfig(
                f"The metric {self.metric.name!r} failed with {type(error).__name__}: {error}.", "Fix its function."
            ) from error
        if found.shape != (count,):
            raise BadConfig(
                f"The metric {self.metric.name!r} returned shape {found.shape} for {count} samples.",
                "Return one number for each sample.",
            )
        if self.metric.is_share and ((found < 0) | (found > 1)).any():
            raise BadConfig(
                f"The metric {self.metric.name!r} is a share, but returned {found[(found < 0) | (found > 1)][0]:g}.",
                "Return numbers from 0 to 1, or give it no unit.",
            )
        return found


def load_function(text: str) -> Function:
    """Load the function ``package.module:name`` or ``file.py:name``. Raises BadConfig."""
    place, separator, name = text.rpartition(":")
    if not separator or not place or not name:
        raise BadConfig(f"{text!r} names no metric.", "Write it like package.module:function or file.py:function.")
    try:
        if place.endswith(".py"):
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
        function: Function = getattr(module, name)
    except Exception as error:
        raise BadConfig(f"The metric {text!r} does not load ({error}).", "Check the file and the name.") from error
    return function
