"""Options shared by several verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _show_all_columns(wide: bool) -> bool:
    if wide:
        from quantkit.cli.tables import show_all_columns

        show_all_columns(wide)
    return wide


Run = Annotated[
    Path | None,
    typer.Argument(help="A run directory; left out: the newest under runs/.", show_default=False),
]
Model = Annotated[
    Path | None,
    typer.Argument(help="The ONNX model; left out: \\[model] path, or the only .onnx in this folder."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        envvar="QUANTKIT_CONFIG",
        help="quantkit.toml to read; default: the one here, but a run that is solved anew keeps its own.",
    ),
]
ComparisonConfig = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        envvar="QUANTKIT_CONFIG",
        help="quantkit.toml to read; default: the run's, with evaluation data, \\[task], \\[compare], \\[openvino] and "
        "\\[report] of the one here.",
    ),
]
RunConfigFile = Annotated[
    Path | None,
    typer.Option("-c", "--config", envvar="QUANTKIT_CONFIG", help="quantkit.toml to read; default: the run's own."),
]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", envvar="QUANTKIT_OUTPUT", help="Run directory; default: runs/<model>-<UTC time>."),
]
Targets = Annotated[
    list[str] | None,
    typer.Option("--target", help="onnxruntime, openvino, tensorrt, tensorrt-rtx (only if named); may be repeated."),
]
Precisions = Annotated[
    list[str] | None,
    typer.Option("--precision", help="fp32, fp16 or int8; may be repeated."),
]
Placements = Annotated[
    list[str] | None,
    typer.Option(
        "--placement", help="Who places FakeQuantize in OpenVINO's INT8: qdq or nncf; may be repeated \\[qdq]."
    ),
]
Samples = Annotated[
    int | None,
    typer.Option("--samples", min=1, help="At most so many samples \\[calibrate: 300, compare: all]."),
]
Preprocessing = Annotated[
    str | None,
    typer.Option("--preprocess", help="Preprocessing preset, such as imagenet or yolo."),
]
Size = Annotated[
    str | None,
    typer.Option("--size", help="HEIGHTxWIDTH of the model's input, where the model leaves them open."),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", min=0, help="Seed of the choice of samples."),
]
Classes = Annotated[
    Path | None,
    typer.Option("--classes", help="Text file with the outputs' classes, one a line."),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        help="CSV of file,class for a flat folder (its labels.csv is found by itself), or COCO's JSON of its images.",
    ),
]
NoThumbnails = Annotated[
    bool,
    typer.Option("--no-thumbnails", help="No pictures of samples in the report; after compare, in none of the run's."),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start over: use nothing that an earlier run left.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the output even if quantkit did not write it.")]
NoExport = Annotated[bool, typer.Option("--no-export", help="Stop at the ranges: no export, no report.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Wide = Annotated[
    bool,
    typer.Option(
        "--wide", callback=_show_all_columns, help="Show all columns of tables, however narrow the terminal is."
    ),
]
DumpConfig = Annotated[bool, typer.Option("--dump-config", help="Print the effective configuration and exit.")]
Verbose = Annotated[
    int, typer.Option("-v", "--verbose", count=True, show_default=False, help="Say more; -vv shows tracebacks.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say only errors.")]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin", help="Library of TensorRT plugins for operators of your own, to build and to run; may be repeated."
    ),
]
