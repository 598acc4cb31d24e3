"""Tunes a run: searches, and makes a run of what was found, with artifacts, a comparison and a report."""

from __future__ import annotations

import logging
import re
import shutil
from contextlib import suppress
from pathlib import Path

from quantkit.config import Config, TuneConfig
from quantkit.core.errors import BadConfig, BadInput
from quantkit.core.progress import Progress, silent
from quantkit.core.recipe import Recipe
from quantkit.core.tuning import Tuning
from quantkit.pipeline.comparison.stage import FromPython, compare
from quantkit.pipeline.export import export_all
from quantkit.pipeline.report import write_report
from quantkit.pipeline.run_directory import ARTIFACTS
from quantkit.pipeline.run_files import save_comparison
from quantkit.pipeline.tuning.goals import goal_of
from quantkit.pipeline.tuning.result import keep
from quantkit.pipeline.tuning.stage import TuneRequest, search
from quantkit.pipeline.writing import own_folder
from quantkit.targets import targets_named

log = logging.getLogger("quantkit")
WORK = ".tuning"  # in the folder of the result: what was measured so far
BUDGET = re.compile(r"(\d+(?:\.\d+)?) ?(s|m|h)?")
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, None: 60.0}


def request_of(own: TuneConfig, data: object = None) -> TuneRequest:
    """Make the request that a ``[tune]`` table stands for. Raises BadConfig."""
    goal = goal_of(own.max_drop, own.min_sqnr, own.min_agreement, own.within, own.max_slowdown)
    found = BUDGET.fullmatch(own.budget.strip().lower())
    if found is None or not float(found[1]):
        raise BadConfig(f"The budget {own.budget!r} is no time.", "Write it as 90s, 20m or 1h.")
    return TuneRequest(goal, own.target, float(found[1]) * SECONDS[found[2]], data)


def tune(
    config: Config,
    recipe: Recipe,
    request: TuneRequest,
    output: Path | None = None,
    progress: Progress = silent,
    fresh: bool = False,
) -> Tuning:
    """Tune a run, and write the result as a run of its own.

    An interrupted search goes on with what it measured when it is begun again with the same arguments.

    Args:
        config: The effective configuration.
        recipe: The run's recipe.
        request: What to tune for.
        output: The folder of the result; None is the run's own name with ``-tuned`` behind it.
        progress: Displays the progress.
        fresh: Use nothing that an earlier search measured.

    Returns:
        What was tried and chosen.

    Raises:
        BadInput: The model, the data or a setting is wrong, or there are too few samples.
        BackendMissing: The target's library is not installed.
    """
    source = recipe.calibration.folder
    if output is None:
        if source is None:
            raise BadConfig("There is no folder to write to.", "Give output=, or calibrate with output=.")
        output = source.with_name(f"{source.name}-tuned")
    if source is not None and output.resolve() == source.resolve():
        raise BadConfig(f"{output} is the run that is tuned.", "Give the result a folder of its own (-o, output=).")
    with own_folder(output):
        work = output / WORK
        if fresh:
            shutil.rmtree(work, ignore_errors=True)
        work.mkdir(exist_ok=True)
        try:
            found = search(config, recipe, request, work, progress)
        except BaseException:
            with suppress(OSError):
                work.rmdir()  # of a search that measured nothing, nothing is left
            raise
        calibration, tuning = keep(found, config, output)
        tuned = Recipe.of(calibration)
        export_all(config, tuned, output / ARTIFACTS, progress)
        _compare(config, tuned, tuning, output, request, progress)
        shutil.rmtree(work, ignore_errors=True)
        write_report(output)
    return tuning


def _compare(
    config: Config, tuned: Recipe, tuning: Tuning, folder: Path, request: TuneRequest, progress: Progress
) -> None:
    """Measure the result beside the run's own INT8, on the samples that tuning did not look at."""
    (target,) = targets_named([tuning.target], config.target_settings())
    if not target.availability().works:
        return
    assert tuned.calibration.tuned is not None
    methods = [tuned.method, tuned.calibration.tuned.method]
    settings = config.with_values("compare", targets=[tuning.target], methods=methods)
    try:
        compared = compare(settings, tuned, folder / ARTIFACTS, progress, FromPython(data=request.data))
    except BadInput as refusal:  # such as a method that the run has no ranges by
        log.warning("The result is not compared: %s", refusal)
        return
    save_comparison(compared, folder)
