"""``quantkit.toml``: every setting, typed; unknown keys are refused."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from quantkit.calibrators.percentile import DEFAULT_PERCENTILE
from quantkit.core.artifact import KNOWN_PRECISIONS, PRECISIONS
from quantkit.core.errors import BadConfig
from quantkit.core.files import normalized
from quantkit.core.preprocess import PRESETS, Preprocess
from quantkit.core.record import Record
from quantkit.gates import Rule
from quantkit.targets.openvino.settings import OpenVinoSettings
from quantkit.targets.tensorrt.engine.plan import BuildSettings
from quantkit.targets.tensorrt.target import DEFAULT_VERSION, TensorRTSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG_FILE = "quantkit.toml"
DEFAULT_SAMPLES = 300
DEFAULT_METHOD = "mse-robust"  # best SQNR over the models in docs/accuracy.md


class ModelConfig(Record):
    """``[model]``: the ONNX file."""

    path: Path | None = None


class DataConfig(Record):
    """``[data]``: where samples come from.

    ``calibration`` and ``evaluation`` are folders, text lists, .npy or .npz. ``samples`` bounds the calibration set,
    ``eval_samples`` the evaluation set (default: all). ``classes`` names the model's outputs in order, as a list or a
    text file with one a line. ``labels`` is a CSV of file,class for a flat evaluation folder; a labels.csv in a folder
    is found by itself.
    """

    calibration: Path | None = None
    evaluation: Path | None = None
    samples: int = Field(default=DEFAULT_SAMPLES, gt=0)
    eval_samples: int | None = Field(default=None, gt=0)
    classes: list[str] | Path | None = None
    labels: Path | None = None
    seed: int = Field(default=0, ge=0)


class CalibrateConfig(Record):
    """``[calibrate]``: how ranges are found.

    ``tensors`` is "all", or "quantizable" to leave out what no Q/DQ or IR quantizes (a Conv output that only feeds its
    ReLU). ``batch_size`` is how many first samples fix the histograms' bin width (TensorRT's batch size). ``exclude``
    holds wildcards for nodes and tensors that stay in floating point; they are counted all the same.
    """

    method: str = DEFAULT_METHOD
    percentile: float = Field(default=DEFAULT_PERCENTILE, gt=0, le=100)
    tensors: Literal["all", "quantizable"] = "all"
    batch_size: int = Field(default=1, gt=0)
    exclude: list[str] = Field(default_factory=list)


class TaskConfig(Record):
    """``[task]``: what the model is for, and so which metrics are measured.

    ``name`` is a built-in task ("classification", or "none": fidelity to FP32 alone), an installed one, or "auto":
    classification where the first output can be class scores, else none. ``metrics`` are functions of your own, as
    ``file.py:function`` or ``package.module:function``.
    """

    name: str = "auto"
    metrics: list[str] = Field(default_factory=list)


class CompareConfig(Record):
    """``[compare]``: what is measured. No targets means all that work on this machine.

    ``device`` None means each target's first. ``batch_sizes`` are those that latency is measured at, a row for each.
    """

    targets: list[str] = Field(default_factory=list)
    precisions: list[str] = Field(default_factory=lambda: list(PRECISIONS))
    device: str | None = None
    batch_sizes: list[Annotated[int, Field(gt=0)]] = Field(default_factory=lambda: [1], min_length=1)

    @field_validator("precisions")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        unknown = [precision for precision in value if precision not in KNOWN_PRECISIONS]
        if unknown:
            raise ValueError(f"unknown precision {unknown[0]!r}; there are {', '.join(KNOWN_PRECISIONS)}")
        return value


class ExportConfig(Record):
    """``[export]``: the TensorRT version named in the calibration cache's first line; TensorRT refuses any other."""

    tensorrt: str = DEFAULT_VERSION


class ReportConfig(Record):
    """``[report]``: whether it shows thumbnails of the samples whose answers changed."""

    thumbnails: bool = True


class Config(Record):
    """The whole file. Paths in it are relative to it and are made absolute when it is read.

    ``targets`` holds the tables of installed targets, which check their own keys.
    """

    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    preprocess: Preprocess = PRESETS["imagenet-stretch"]
    calibrate: CalibrateConfig = Field(default_factory=CalibrateConfig)
    task: TaskConfig = Field(default_factory=TaskConfig)
    compare: CompareConfig = Field(default_factory=CompareConfig)
    export: ExportConfig = Field(default_factory=ExportConfig)
    build: BuildSettings = Field(default_factory=BuildSettings)
    openvino: OpenVinoSettings = Field(default_factory=OpenVinoSettings)
    targets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    report: ReportConfig = Field(default_factory=ReportConfig)
    gate: list[Rule] = Field(default_factory=list)

    @field_validator("preprocess", mode="before")
    @classmethod
    def _from_preset(cls, value: Any) -> Any:
        """A preset named in the table is the ground that its other keys change."""
        if isinstance(value, dict):
            name = value.get("preset", "imagenet-stretch")
            if name not in PRESETS:
                raise ValueError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
            return PRESETS[name].model_dump() | value
        return value

    def with_values(self, table: str, source: str = "the command line", **values: Any) -> Config:
        """A copy with the given keys of one table replaced, None meaning "as it was".

        Raises BadConfig, naming ``source``.
        """
        given = {key: value for key, value in values.items() if value is not None}
        if not given:
            return self
        merged = self.model_dump(exclude_unset=False)
        merged[table] = merged[table] | given
        return parse_config(merged, source)

    def target_settings(self) -> dict[str, Record | dict[str, Any]]:
        """Each target's own settings: the built-in ones' tables, and ``[targets.NAME]`` of those that are installed."""
        built_in: dict[str, Record | dict[str, Any]] = {
            "openvino": self.openvino,
            "tensorrt": TensorRTSettings(version=self.export.tensorrt, build=self.build),
        }
        return built_in | self.targets

    def class_names(self) -> list[str] | None:
        """The classes in output order, read from their file where they are given as one. Raises BadConfig."""
        classes = self.data.classes
        if not isinstance(classes, Path):
            return classes
        try:
            names = [line.strip() for line in classes.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise BadConfig(f"The classes file {classes} cannot be read.", "Write one class name a line.") from error
        if not names or len(set(names)) != len(names):
            raise BadConfig(f"The classes file {classes} is empty or repeats a name.", "Write one class name a line.")
        return names

    def to_toml(self) -> str:
        """The configuration as the text of a ``quantkit.toml``, without what is unset."""
        import tomli_w

        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))


def parse_config(values: dict[str, Any], source: str) -> Config:
    """Validate; a BadConfig names ``source`` and the key at fault."""
    if isinstance(values.get("gate"), dict):
        raise BadConfig(f"'gate' in {source} is one table, not a list of rules.", "Write [[gate]] above each rule.")
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        key = _key_at(problem["loc"])
        if problem["type"] == "extra_forbidden":
            raise BadConfig(f"Unknown key {key} in {source}.", _known_keys(problem["loc"])) from error
        message = problem["msg"].removeprefix("Value error, ")
        raise BadConfig(
            f"{key} in {source} is wrong: {message}.", "Correct it; docs/configuration.md lists all keys."
        ) from error


def _key_at(place: Sequence[str | int]) -> str:
    """What a person calls the key at fault; tables of a list are counted from 1."""
    parts = [part for part in place if part not in ("function-after[<lambda>()", "str")]
    if len(parts) < 2 or not isinstance(parts[1], int):
        return repr(".".join(map(str, parts)))
    table = f"[[{parts[0]}]] number {parts[1] + 1}"
    return f"{'.'.join(map(str, parts[2:]))!r} of {table}" if parts[2:] else table


def load_config(path: Path) -> Config:
    """Read ``quantkit.toml``, or ``[tool.quantkit]`` of a ``pyproject.toml``. Raises BadConfig."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"The configuration {path} cannot be read ({error.strerror}).", "Check its path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} is not valid TOML ({error}).", "Correct that line.") from error
    if path.name == "pyproject.toml":
        values = values.get("tool", {}).get("quantkit", {})
    return _absolute(parse_config(values, str(path)), path.parent.absolute())


def find_config(folder: Path) -> Config:
    """The configuration of a folder: its ``quantkit.toml``, else ``[tool.quantkit]``, else the defaults."""
    for name in (CONFIG_FILE, "pyproject.toml"):
        if (folder / name).is_file():
            return load_config(folder / name)
    return Config()


def _absolute(config: Config, folder: Path) -> Config:
    model = config.model.model_copy(update={"path": config.model.path and normalized(folder / config.model.path)})
    paths: dict[str, Any] = {
        key: normalized(folder / value)
        for key in ("calibration", "evaluation", "labels", "classes")
        if isinstance(value := getattr(config.data, key), Path)
    }
    metrics = [str(normalized(folder / text)) if ".py:" in text else text for text in config.task.metrics]
    return config.model_copy(
        update={
            "model": model,
            "data": config.data.model_copy(update=paths),
            "task": config.task.model_copy(update={"metrics": metrics}),
        }
    )


def _known_keys(location: tuple[int | str, ...]) -> str:
    table: Any = Config
    for part in location[:-1]:
        if isinstance(part, str) and part in table.model_fields:
            annotation = table.model_fields[part].annotation
            table = Rule if part == "gate" else annotation
    return f"Known keys there: {', '.join(table.model_fields)}."


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return [_without_none(inner) for inner in value] if isinstance(value, list) else value
