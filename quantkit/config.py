"""The settings of ``quantkit.toml``: all of them are typed, and unknown keys are refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from quantkit.calibrators.percentile import DEFAULT_PERCENTILE, check_percent
from quantkit.core.artifact import KNOWN_PRECISIONS, PRECISIONS
from quantkit.core.errors import BadConfig
from quantkit.core.preprocess import Preprocess
from quantkit.core.presets import DEFAULT_PRESET, DESCRIBED, PRESETS, preset
from quantkit.core.reading import LARGEST_TEXT, read_file
from quantkit.core.record import Record
from quantkit.core.wording import path_meant
from quantkit.datasets.text_settings import TextSettings
from quantkit.gates import Rule
from quantkit.measure.latency import ROUNDS, SECONDS
from quantkit.targets.openvino.settings import OpenVinoSettings
from quantkit.targets.tensorrt.engine.plan import BuildSettings
from quantkit.targets.tensorrt.target import TensorRTSettings
from quantkit.tasks.base import TaskSettings

Axis = Annotated[int, Field(ge=0)] | Literal["none"]
CONFIG_FILE = "quantkit.toml"
WHOLE = Preprocess.model_fields.keys() - {"size", "layout"}  # the keys of a [preprocess] that leaves nothing open
DEFAULT_SAMPLES = 300
CPU = "cpu"
MOST_STREAMS = 256
DEFAULT_METHOD = "mse-robust"  # the best SQNR over the models in docs/accuracy.md


class ModelConfig(Record):
    """``[model]``: the model to quantize.

    Attributes:
        path: The ONNX file.
        batch_axis: Along which axis of the inputs the samples of a batch lie, "none" if a run takes exactly one sample,
            or a table of these by input; None infers it from the model.
    """

    path: Path | None = None
    batch_axis: Axis | dict[str, Axis] | None = None


class DataConfig(Record):
    """``[data]``: the samples.

    Attributes:
        calibration: The calibration data: a folder of images or of .npz, a text list, .npy, .npz, or a table of texts.
        evaluation: The evaluation data, in the same forms.
        samples: The largest number of calibration samples.
        eval_samples: The largest number of evaluation samples; None means all.
        classes: The names of the model's outputs in order, as a list or a text file with one name a line.
        labels: A CSV of file,class for a flat evaluation folder, or a COCO file for its images. A labels.csv in the
            folder is found without it.
        text: How texts are read and tokenized.
        seed: The seed for the choice of samples.
        select: How calibration samples are chosen: "random", "balanced" (classes in turn) or "diverse" (far from one
            another in the model's own features); None is balanced, but a list is read from its start.
    """

    calibration: Path | None = None
    evaluation: Path | None = None
    samples: int = Field(default=DEFAULT_SAMPLES, gt=0)
    eval_samples: int | None = Field(default=None, gt=0)
    classes: list[str] | Path | None = None
    labels: Path | None = None
    seed: int = Field(default=0, ge=0)
    select: Literal["random", "balanced", "diverse"] | None = None
    text: TextSettings = Field(default_factory=TextSettings)


class CalibrateConfig(Record):
    """``[calibrate]``: the calibration.

    Attributes:
        method: The calibration method.
        percentile: The percentage of the values that the percentile methods keep, 50 to 100.
        tensors: "all", or "quantizable" to leave out tensors that no Q/DQ or IR quantizes, such as a Conv output that
            only feeds its ReLU.
        batch_size: The number of first samples that determine the histograms' bin width; TensorRT's batch size.
        rounding: How weights are rounded: "least-squares", by second moments of layers' inputs that the pass
            collects, or "nearest".
        exclude: Wildcards for nodes and tensors that stay in floating point. They are still counted.
        device: Where the model runs and its activations are counted: "cpu", or a GPU such as "cuda:0".
    """

    method: str = DEFAULT_METHOD
    percentile: float = DEFAULT_PERCENTILE
    tensors: Literal["all", "quantizable"] = "all"
    batch_size: int = Field(default=1, gt=0)
    rounding: Literal["least-squares", "nearest"] = "least-squares"
    exclude: list[str] = Field(default_factory=list)
    device: str = CPU

    @field_validator("device")
    @classmethod
    def _a_device(cls, value: str) -> str:
        if not re.fullmatch(r"(?i)cpu|cuda(:\d{1,3})?", value):
            raise ValueError(f"unknown device {value!r}; there are {CPU}, and GPUs as cuda:0, cuda:1 …")
        return f"{value.lower()}:0" if value.lower() == "cuda" else value.lower()

    @field_validator("percentile")
    @classmethod
    def _in_percent(cls, value: float) -> float:
        check_percent(value)
        return value


class TaskConfig(TaskSettings):
    """``[task]``: the task of the model, which decides the metrics; and what the task is told.

    Attributes:
        name: A built-in task ("classification", "detection", "segmentation", "embedding", "regression", "ctc", or
            "none" for fidelity to FP32 alone), an installed one, or "auto": detection or segmentation if the samples
            are annotated with boxes or masks, classification if an output certainly holds class scores, else none.
        metrics: Functions of the user, as ``file.py:function`` or ``package.module:function``.
    """

    name: str = "auto"
    metrics: list[str] = Field(default_factory=list)


class TuneConfig(Record):
    """``[tune]``: what ``quantkit tune`` is to reach, and ``quantkit run`` tunes for if the table is there.

    Attributes:
        target: The target to tune for; None means the run's first that works.
        max_drop: The largest drop of the main metric from FP32's, in points.
        min_sqnr: The least SQNR of the worst output, in dB.
        min_agreement: The least agreement with FP32, in percent.
        within: How far below FP16 the main metric may be, such as "2%-of-fp16".
        max_slowdown: How much slower than the run's own INT8 the result may be, in percent.
        budget: The time that may be spent on trying, such as "90s", "20m" or "1h".
    """

    target: str | None = None
    max_drop: float | None = None
    min_sqnr: float | None = None
    min_agreement: float | None = None
    within: str | None = None
    max_slowdown: float | None = None
    budget: str = "20m"


class CompareConfig(Record):
    """``[compare]``: the measurements.

    Attributes:
        targets: The targets; empty means all that work on this machine.
        precisions: The precisions.
        device: The devices, with rows for each; empty means each target's first. A single name will do, too.
        batch_sizes: The batch sizes at which latency is measured, with a row for each; of a model whose shapes depend
            on the data, at the data's most common shape.
        shapes: The shapes at which latency is measured instead, as for ``--shape``.
        rounds: The number of rounds in which latency is measured, alternating between models.
        seconds: The seconds that latency may take for each model and batch size; a model that is too slow for it is run
            three times.
        end_to_end: True to time the way from files to answers, too: decoding, preprocessing, the network, answers.
        streams: The numbers of requests under way at a time with which each model is measured as a server; empty means
            none.
        methods: The calibration methods whose INT8 is measured side by side; empty means the run's own.
    """

    targets: list[str] = Field(default_factory=list)
    precisions: list[str] = Field(default_factory=lambda: list(PRECISIONS))
    device: list[str] = Field(default_factory=list)
    batch_sizes: list[Annotated[int, Field(gt=0)]] = Field(default_factory=lambda: [1], min_length=1)
    shapes: list[str] = Field(default_factory=list)
    rounds: int = Field(default=ROUNDS, gt=0)
    seconds: float = Field(default=SECONDS, gt=0)
    end_to_end: bool = False
    streams: list[Annotated[int, Field(gt=0, le=MOST_STREAMS)]] = Field(default_factory=list)
    methods: list[str] = Field(default_factory=list)

    @field_validator("device", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else [] if value is None else value

    @field_validator("precisions")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        unknown = [precision for precision in value if precision not in KNOWN_PRECISIONS]
        if unknown:
            raise ValueError(f"unknown precision {unknown[0]!r}; there are {', '.join(KNOWN_PRECISIONS)}")
        return value


class ExportConfig(Record):
    """``[export]``: the exported files.

    Attributes:
        tensorrt: The version of TensorRT that will read the files: the only one that takes the calibration cache, and
            the one whose opsets and modes they keep to. None writes the files of 8.6 to 11, with a cache of 8.6.0.
    """

    tensorrt: str | None = None


class ReportConfig(Record):
    """``[report]``: the report.

    Attributes:
        thumbnails: True to show thumbnails of the samples whose answers changed.
        graph: True to draw the network in the report, False not to; "auto" draws it if the report stays below 2 MB.
    """

    thumbnails: bool = True
    graph: Literal["auto"] | bool = "auto"


class Config(Record):
    """The whole file. Paths in it are relative to the file and are made absolute when it is read.

    ``targets`` holds the tables of installed targets, which check their own keys.
    """

    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    preprocess: Preprocess = PRESETS[DEFAULT_PRESET]
    calibrate: CalibrateConfig = Field(default_factory=CalibrateConfig)
    task: TaskConfig = Field(default_factory=TaskConfig)
    compare: CompareConfig = Field(default_factory=CompareConfig)
    tune: TuneConfig | None = None
    export: ExportConfig = Field(default_factory=ExportConfig)
    build: BuildSettings = Field(default_factory=BuildSettings)
    openvino: OpenVinoSettings = Field(default_factory=OpenVinoSettings)
    targets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    report: ReportConfig = Field(default_factory=ReportConfig)
    gate: list[Rule] = Field(default_factory=list)

    @field_validator("preprocess", mode="before")
    @classmethod
    def _from_preset(cls, value: Any) -> Any:
        """Start from the preset that the table names; the table's other keys change it.

        What a model says of itself is no such ground: a run's file has all of it, and it is taken as it stands.
        """
        if isinstance(value, dict):
            if value.get("preset") in DESCRIBED and value.keys() >= WHOLE:
                return value
            try:
                return preset(value.get("preset", DEFAULT_PRESET)).model_dump() | value
            except BadConfig as error:
                raise ValueError(f"{error.what} {error.hint}".removesuffix(".")) from error
        return value

    def with_values(self, table: str, source: str = "the command line", **values: Any) -> Config:
        """Return a copy with some keys of one table replaced.

        Args:
            table: The name of the table.
            source: The name in errors of where the values come from.
            **values: The new values by key; None leaves a key unchanged.

        Raises:
            BadConfig: A value is wrong.
        """
        given = {key: value for key, value in values.items() if value is not None}
        if not given:
            return self
        merged = self.model_dump(exclude_unset=False)
        merged[table] = merged[table] | given
        return parse_config(merged, source)

    def target_settings(self) -> dict[str, Record | dict[str, Any]]:
        """Return the settings of each target: tables of built-in targets, and ``[targets.NAME]`` of installed ones."""
        built_in: dict[str, Record | dict[str, Any]] = {
            "openvino": self.openvino,
            "tensorrt": TensorRTSettings(version=self.export.tensorrt, build=self.build),
            "tensorrt-rtx": TensorRTSettings(version=self.export.tensorrt, build=self.build),
        }
        return built_in | self.targets

    def class_names(self) -> list[str] | None:
        """Return the classes in output order, read from the file if ``classes`` is one; None if they are not set.

        Raises:
            BadConfig: The file cannot be read, is empty or repeats a name.
        """
        classes = self.data.classes
        if not isinstance(classes, Path):
            return classes
        try:
            text = read_file(classes, LARGEST_TEXT, BadConfig, "classes file").decode("utf-8-sig")
            names = [line.strip() for line in text.splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise BadConfig(
                f"The classes file {classes} cannot be read.", f"{path_meant(classes)}Write one class name a line."
            ) from error
        if not names or len(set(names)) != len(names):
            raise BadConfig(f"The classes file {classes} is empty or repeats a name.", "Write one class name a line.")
        return names

    def to_toml(self) -> str:
        """Return the configuration as the text of a ``quantkit.toml``, without unset keys."""
        import tomli_w

        return tomli_w.dumps(_without_none(self.model_dump(mode="json")))


def parse_config(values: dict[str, Any], source: str) -> Config:
    """Validate the values of a configuration.

    Args:
        values: The tables.
        source: The name in errors of where the values come from.

    Returns:
        The configuration.

    Raises:
        BadConfig: A value is wrong; the message names ``source`` and the key.
    """
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
    """Return the name of a key for a message; tables of a list are counted from 1."""
    parts = [part for part in place if part not in ("function-after[<lambda>()", "str")]
    if len(parts) < 2 or not isinstance(parts[1], int):
        return repr(".".join(map(str, parts)))
    table = f"[[{parts[0]}]] number {parts[1] + 1}"
    return f"{'.'.join(map(str, parts[2:]))!r} of {table}" if parts[2:] else table


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
