"""Makes a run of what tuning chose: its calibration, artifacts of every target, and ``tune.json``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quantkit.config import Config
from quantkit.core.calibration import Calibration, TunedFrom
from quantkit.core.files import write_text
from quantkit.core.recipe import Recipe
from quantkit.core.record import read_record
from quantkit.core.tuning import TUNE_FILE, Tuning
from quantkit.pipeline.manifest import MANIFEST_FILE, now, read_manifest
from quantkit.pipeline.replacement import replacing
from quantkit.pipeline.run_files import save_calibration, write_config

TUNED = "tuned"  # the method of a tuned calibration, which its rows are named by


@dataclass(frozen=True)
class Result:
    """What tuning found: a recipe, and what was tried on the way.

    ``samples`` and ``sizes`` are the digests of the samples that it looked at, and their sizes; see ``TunedFrom``.
    """

    recipe: Recipe
    tuning: Tuning
    samples: tuple[str, ...]
    sizes: tuple[int, ...]

    def calibration(self) -> Calibration:
        """Return the run's calibration with the chosen ranges, exclusions and biases."""
        own, ranges = self.recipe.calibration, self.recipe.ranges
        tensors = {
            name: tensor
            if tensor.range == ranges[name]
            else tensor.model_copy(
                update={
                    "amax": ranges[name].amax,
                    "low": ranges[name].low,
                    "high": ranges[name].high,
                    "method": self.tuning.ranges.get(name, TUNED),
                    "reason": "tuned: the least error of the output",
                }
            )
            for name, tensor in own.tensors.items()
        }
        return own.model_copy(
            update={
                "created": now(),
                "method": TUNED,
                "exclude": self.recipe.exclude,
                "tensors": tensors,
                "biases": dict(self.recipe.biases),
                "equalize_sums": self.recipe.equalize_sums,
                "tuned": TunedFrom(
                    method=own.tuned.method if own.tuned else own.method,
                    exclude=own.tuned.exclude if own.tuned else own.exclude,
                    data=self.tuning.data,
                    samples=tuple(dict.fromkeys((*(own.tuned.samples if own.tuned else ()), *self.samples))),
                    sizes=tuple(dict.fromkeys((*(own.tuned.sizes if own.tuned else ()), *self.sizes))),
                ),
            }
        )


def keep(result: Result, config: Config, folder: Path) -> tuple[Calibration, Tuning]:
    """Save what tuning chose as a run of its own.

    Args:
        result: What tuning found.
        config: The effective configuration.
        folder: The run directory, which must be locked.

    Returns:
        The calibration and the tuning, as saved.
    """
    source = result.recipe.calibration.folder
    manifest = None if source is None else read_manifest(source)
    with replacing(folder, ("int8",), without_manifest=manifest is None) as new:
        saved = save_calibration(result.calibration(), new)
        write_config(new, config)
        if manifest is not None:
            write_text(new / MANIFEST_FILE, manifest.model_dump_json(indent=1) + "\n")
    return saved.model_copy(update={"folder": folder}), save_tuning(result.tuning, folder)


def save_tuning(tuning: Tuning, folder: Path) -> Tuning:
    """Write ``tune.json``, and return the tuning as saved."""
    write_text(folder / TUNE_FILE, tuning.model_dump_json(indent=1) + "\n")
    return tuning.model_copy(update={"folder": folder})


def load_tuning(folder: Path) -> Tuning | None:
    """Read ``tune.json``; None if there is none. Raises BadRun if it is damaged."""
    if not (folder / TUNE_FILE).is_file():
        return None
    return read_record(Tuning, folder / TUNE_FILE, "quantkit tune").model_copy(update={"folder": folder})
