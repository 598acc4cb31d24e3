"""The effective configuration: defaults, overridden by quantkit.toml, the environment and options, in this order."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from quantkit.config import Config
from quantkit.config_files import config_file, load_config
from quantkit.core.errors import BadConfig
from quantkit.core.files import normalized
from quantkit.core.presets import preset
from quantkit.core.record import Record
from quantkit.core.wording import some

log = logging.getLogger(__name__)

ENVIRONMENT: dict[str, tuple[str, str]] = {
    "QUANTKIT_MODEL": ("model", "path"),
    "QUANTKIT_BATCH_AXIS": ("model", "batch_axis"),
    "QUANTKIT_DATA": ("data", "calibration"),
    "QUANTKIT_EVAL_DATA": ("data", "evaluation"),
    "QUANTKIT_SAMPLES": ("data", "samples"),
    "QUANTKIT_EVAL_SAMPLES": ("data", "eval_samples"),
    "QUANTKIT_CLASSES": ("data", "classes"),
    "QUANTKIT_LABELS": ("data", "labels"),
    "QUANTKIT_SEED": ("data", "seed"),
    "QUANTKIT_SELECT": ("data", "select"),
    "QUANTKIT_METHOD": ("calibrate", "method"),
    "QUANTKIT_PERCENTILE": ("calibrate", "percentile"),
    "QUANTKIT_TENSORS": ("calibrate", "tensors"),
    "QUANTKIT_BATCH_SIZE": ("calibrate", "batch_size"),
    "QUANTKIT_EXCLUDE": ("calibrate", "exclude"),
    "QUANTKIT_TASK": ("task", "name"),
    "QUANTKIT_METRIC": ("task", "metrics"),
    "QUANTKIT_TARGET": ("compare", "targets"),
    "QUANTKIT_PRECISION": ("compare", "precisions"),
    "QUANTKIT_DEVICE": ("compare", "device"),
    "QUANTKIT_LATENCY_BATCH": ("compare", "batch_sizes"),
    "QUANTKIT_STREAMS": ("compare", "streams"),
    "QUANTKIT_TENSORRT": ("export", "tensorrt"),
    "QUANTKIT_PLACEMENT": ("openvino", "placement"),
    "QUANTKIT_HINT": ("openvino", "hint"),
    "QUANTKIT_THREADS": ("openvino", "threads"),
}
# The tables that compare takes from this folder's quantkit.toml, and the keys where not all of them.
OF_COMPARISONS: dict[str, tuple[str, ...]] = {
    "data": ("evaluation", "eval_samples", "classes", "labels", "text"),
    "task": (),
    "compare": (),
    "openvino": (),
    "report": (),
}
LISTS = {"exclude", "metrics", "targets", "precisions", "batch_sizes", "placement", "streams"}  # written with commas
PATHS = {"path", "calibration", "evaluation", "classes", "labels"}


def base_config(file: Path | None) -> Config:
    """Read the file of -c, or this folder's quantkit.toml or [tool.quantkit]; the environment overrides it."""
    if file is not None:
        return with_environment(load_config(file))
    here = config_file(Path())
    if here is None:
        return with_environment(Config())
    _say_taken(here)
    return with_environment(load_config(here))


def _say_taken(file: Path) -> None:
    """Say that settings of a file are taken which the command line does not name."""
    log.info("Settings: %s", file)


def comparison_config(file: Path | None, folder: Path, data: Path | None = None) -> Config:
    """Return the settings of a comparison; the environment overrides them.

    Args:
        file: The file of -c, which stands for all of them.
        folder: The run. Without -c, this folder's quantkit.toml or [tool.quantkit] overrides what concerns the
            comparison; how the calibration was made stays the run's. Code that the run names is left out.
        data: The evaluation data, if the command line names it.
    """
    if file is not None:
        return with_environment(load_config(file))
    from quantkit.pipeline.run_files import named_code, run_config  # it loads much

    run, found = run_config(folder), config_file(Path())
    here = Config() if found is None else load_config(found)
    told = os.environ.get("QUANTKIT_EVAL_DATA")
    evaluation = absolute(data or (Path(told) if told else here.data.evaluation))
    if evaluation is not None and run.data.evaluation not in (None, evaluation):  # the run's labels are of other data
        run = run.model_copy(update={"data": run.data.model_copy(update={"labels": None})})
    taken = here.tune is not None
    for table, keys in OF_COMPARISONS.items():
        given: Record = getattr(here, table)
        values = {key: getattr(given, key) for key in keys or type(given).model_fields if key in given.model_fields_set}
        if values:
            run = run.with_values(table, source=f"this folder's {found}", **values)
            taken = True
    if here.tune is not None:  # as a whole: of two goals, none would count
        run = run.model_copy(update={"tune": here.tune})
    if taken and found is not None:
        _say_taken(found)
    settings = with_environment(run)
    if left := [code for code in named_code(folder) if code not in (*settings.task.metrics, settings.task.name)]:
        log.warning("Not called, because the run alone names it: %s. --metric or --task names it anew.", some(left))
    return settings


def with_environment(config: Config) -> Config:
    """Override settings with the QUANTKIT_* variables; an empty one counts as unset. Raises BadConfig."""
    for variable, (table, key) in ENVIRONMENT.items():
        text = os.environ.get(variable)
        if not text:
            continue
        value: object = text
        if key in LISTS:
            value = [part.strip() for part in text.split(",") if part.strip()]
        elif key == "batch_axis":
            value = parse_batch_axis(text.split(","))
        elif key in PATHS:
            value = normalized(Path(text))
        config = config.with_values(table, source=f"the environment ({variable})", **{key: value})
    config = with_preprocess(config, os.environ.get("QUANTKIT_PREPROCESS") or None)
    return with_size(config, os.environ.get("QUANTKIT_SIZE") or None, "the environment (QUANTKIT_SIZE)")


def with_preprocess(config: Config, name: str | None) -> Config:
    """Replace the configured preprocessing with a preset; None keeps it."""
    return config if name is None else config.model_copy(update={"preprocess": preset(name)})


def with_size(config: Config, text: str | None, source: str = "--size") -> Config:
    """Set the height and width of images, written HEIGHTxWIDTH; None keeps them. Raises BadConfig."""
    if text is None:
        return config
    found = re.fullmatch(r"(\d{1,6})[x×](\d{1,6})", text.strip())
    if found is None:
        raise BadConfig(f"The size {text!r} of {source} cannot be read.", "Write HEIGHTxWIDTH, such as 480x640.")
    return config.with_values("preprocess", source=source, size=(int(found[1]), int(found[2])))


def with_model(config: Config, model: Path | None) -> Config:
    """Set the model: the given one, else the configured one, else the only .onnx file here. Raises BadConfig."""
    if model is None and config.model.path is not None:
        return config
    if model is None:
        here = sorted(Path().glob("*.onnx"))
        if len(here) != 1:
            found = f"{len(here)} .onnx files are here" if here else "there is no .onnx file here"
            raise BadConfig(f"No model is given, and {found}.", "Name one: quantkit calibrate model.onnx --data imgs/")
        model = here[0]
    return config.with_values("model", path=normalized(model))


def parse_batch_axis(texts: list[str] | None) -> int | str | dict[str, int | str] | None:
    """Parse --batch-axis: "0" or "none" for all inputs, "input=0" for one. Raises BadConfig."""
    if not texts:
        return None
    by_input: dict[str, int | str] = {}
    for text in texts:
        name, separator, axis = text.rpartition("=")
        if (not axis.isdecimal() and axis != "none") or (len(texts) > 1 and not separator):
            raise BadConfig(
                f"The batch axis {text!r} cannot be read.",
                "Write 0 or another axis, or none; with an input's name before it, input=0, for that input alone.",
            )
        by_input[name] = int(axis) if axis.isdecimal() else axis
    return by_input.get("", by_input)


def absolute(path: Path | None) -> Path | None:
    """Return the absolute path to store in a run directory; None for None."""
    return None if path is None else normalized(path)


def plugins_of(files: Sequence[Path] | None) -> list[Path] | None:
    """Return the absolute paths of plugin libraries; None if none is given."""
    return [normalized(file) for file in files] if files else None
