"""The conversion stage: converts ranges between caches, dynamic ranges, TensorsData, runs and Q/DQ models."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path

import onnx
from onnx import helper

from quantkit.core.artifact import PRECISIONS
from quantkit.core.calibration import CALIBRATION_FILE, Calibration, DataRef, ModelRef, TensorCalibration
from quantkit.core.errors import BadConfig, BadRun
from quantkit.core.files import atomic_file, normalized, sha256_of, write_text
from quantkit.core.overwriting import check_overwrite
from quantkit.core.preprocess import Preprocess
from quantkit.core.ranges import TensorRange
from quantkit.core.releases import release_of
from quantkit.core.wording import choice_of, some
from quantkit.formats.dynamic_ranges import ranges_text
from quantkit.formats.imported import DEAD_AMAX, Imported
from quantkit.formats.tensorrt_cache import ENTROPY, MINMAX, header_of, text_with_header, version_number
from quantkit.formats.tensors_data import MIN_MAX, tensors_data_text
from quantkit.graph.float_tensors import float_tensors
from quantkit.graph.fused import with_fused
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile, open_model
from quantkit.graph.save import LARGEST_SINGLE_FILE
from quantkit.pipeline.conversion.match import Match, completed, match
from quantkit.pipeline.conversion.read import range_file, read_ranges_of
from quantkit.pipeline.manifest import now
from quantkit.pipeline.replacement import replacing
from quantkit.pipeline.run_directory import PARTIAL, is_run
from quantkit.pipeline.run_files import load_calibration, save_calibration
from quantkit.pipeline.writing import own_folder
from quantkit.qdq.attention import rounded_probabilities
from quantkit.qdq.carried import quantized_weights
from quantkit.qdq.reader import QDQ_MODEL
from quantkit.targets.tensorrt import DEFAULT_VERSION, quantized_model
from quantkit.targets.tensorrt.engine.plan import FIRST_ONLY_STRONG
from quantkit.version import __version__

FORMS = ("qdq", "ranges", "cache", "json", "tensors-data")
ALGORITHMS = {"entropy": ENTROPY, "minmax": MINMAX}
CONVERTED = "quantkit.converted"  # the metadata key by which a Q/DQ model that was converted is known
IMPORTED = "imported"  # the method of a calibration that quantkit did not make


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion. ``text`` is the result of a text format; ``match`` is None if no model was given."""

    imported: Imported
    ranges: dict[str, TensorRange]
    match: Match | None
    notes: tuple[str, ...]
    text: str = ""
    output: Path | None = None


def convert(
    source: Path,
    to: str,
    model_path: Path | None = None,
    output: Path | None = None,
    version: str | None = None,
    algorithm: str | None = None,
    force: bool = False,
) -> Conversion:
    """Convert ranges from any format that quantkit reads into another.

    Args:
        source: The file or run directory with the ranges.
        to: One of ``FORMS``. "json" makes a run directory for ``quantkit export``; the others make a file.
        model_path: The floating-point model; "qdq" and "json" need it.
        output: The file or run directory to write; "qdq" and "json" need it. None writes nothing.
        version: The TensorRT version in a cache's first line; None keeps the source's.
        algorithm: "entropy" or "minmax" in a cache's first line; None keeps the source's.
        force: Replace a file at ``output`` whatever it holds; otherwise only one that is as it would be written.

    Returns:
        The result.

    Raises:
        BadInput: The source is damaged or belongs to another model, or an argument is wrong or missing.
    """
    _check_arguments(to, model_path, output, version, algorithm)
    file = range_file(source)
    model = None if model_path is None else open_model(model_path)
    if output is not None:
        if to != "json" and output.is_dir():
            raise BadConfig(f"The output {output} is a folder.", "Give the name of a file (-o, output=).")
        _refuse_to_overwrite(output, [file, *((model.path, *model.external_files) if model else ())])
    known = float_tensors(model.graph_only) if model else []
    imported, calibration = read_ranges_of(source, set(known))
    matched = match(imported, model, str(source)) if model else None
    if model:
        imported = completed(imported, model)
    notes = [*imported.notes, *_zeros(imported, matched, source)]
    if to != "cache" and (version or algorithm):
        notes.append(f"Only a cache names a version of TensorRT and an algorithm; the form {to} leaves them out.")
    notes += _losses(imported, to, source, has_model=model is not None)
    ranges = imported.ranges
    if model is None or matched is None or output is None or to not in ("qdq", "json"):
        if model and matched and matched.fused:
            ranges = with_fused(Graph(model.graph_only.graph), ranges)
            notes.append(f"Tensors inside fused kernels ({some(matched.fused)}) get the range of what leaves them.")
        text = _text(imported, ranges, to, version, algorithm)
        if output is not None:
            if not _holds(output, text):
                check_overwrite(output, None, force)
            write_text(output, text)
        return Conversion(imported, ranges, matched, tuple(notes), text, output)
    ranges = {name: ranges[name] for name in matched.tensors if name in ranges}
    if to == "qdq":
        weights = quantized_weights(file) if imported.form == QDQ_MODEL else {}
        proto, others = quantized_model(model, ranges, imported.exclude, weights)
        if others:
            notes.append(f"{source} has other weights than {model.path} in {some(others)}: these are rounded anew.")
        if imported.form != QDQ_MODEL and (rounded := rounded_probabilities(proto)):
            notes.append(
                f"Probabilities are rounded ({some(rounded)}): ranges alone do not tell what that leaves of them; "
                "quantkit calibrate finds out."
            )
        helper.set_model_props(proto, {entry.key: entry.value for entry in proto.metadata_props} | {CONVERTED: "qdq"})
        check_overwrite(output, CONVERTED.encode(), force)
        _write_model(proto, output)
    else:
        _write_run(imported, ranges, model, file, calibration, tuple(notes), output)
    return Conversion(imported, ranges, matched, tuple(notes), output=output)


def _check_arguments(
    to: str, model_path: Path | None, output: Path | None, version: str | None, algorithm: str | None
) -> None:
    if to not in FORMS:
        raise BadConfig(f"There is no form {to!r} to convert to.", choice_of(to, FORMS))
    if algorithm is not None and algorithm not in ALGORITHMS:
        raise BadConfig(f"There is no algorithm {algorithm!r}.", choice_of(algorithm, ALGORITHMS))
    if version is not None:
        version_number(version)
        if to == "cache" and release_of(version) >= FIRST_ONLY_STRONG:
            raise BadConfig(f"TensorRT {version} reads no calibration cache.", "Convert to qdq for it.")
    if to in ("qdq", "json") and (model_path is None or output is None):
        lacking = "the floating-point ONNX model (--model, model=)" if model_path is None else "one (-o, output=)"
        raise BadConfig(f"The form {to} needs {'a model' if model_path is None else 'an output'}.", f"Give {lacking}.")


def _losses(imported: Imported, to: str, source: Path, has_model: bool) -> list[str]:
    """Note what the format ``to`` cannot express, or what ``source`` does not say."""
    notes = []
    if to == "ranges" and (split := [name for name in imported.ranges if ":" in name]):
        notes.append(
            f"A name holds a colon ({some(split)}): read the lines by the last one; sampleINT8API takes the first."
        )
    if to in ("json", "tensors-data") and imported.symmetric:
        unsigned = "" if has_model else ", those of ReLU outputs, too, as no model tells which they are"
        count = len(imported.symmetric)
        notes.append(
            f"{source} holds only amax for {f'{count} tensors' if count > 1 else 'one tensor'} that may be negative: "
            f"unsigned 8-bit targets get -amax to amax there{unsigned}."
        )
    return notes


def _zeros(imported: Imported, matched: Match | None, source: Path) -> list[str]:
    """Note ranges of 0, except those of the model's constants, to which onnxruntime's calibrators give ranges."""
    dead = [name for name in imported.dead if matched is None or name not in matched.constants]
    if not dead:
        return []
    count = f"The ranges of {len(dead)} tensors are" if len(dead) > 1 else "The range of one tensor is"
    return [f"{count} 0 in {source} ({some(dead)}); {DEAD_AMAX:.3g} stands for it, as 0 is no scale."]


def _text(
    imported: Imported, ranges: dict[str, TensorRange], to: str, version: str | None, algorithm: str | None
) -> str:
    amax = {name: range_.amax for name, range_ in ranges.items()}
    if to == "ranges":
        return ranges_text(amax)
    if to == "tensors-data":
        return tensors_data_text(ranges, imported.method if imported.method.startswith("Calibration") else MIN_MAX)
    word = MINMAX if imported.method == "minmax" else None
    return text_with_header(
        amax, header_of(imported.header, DEFAULT_VERSION, version, ALGORITHMS[algorithm] if algorithm else word)
    )


def _holds(path: Path, text: str) -> bool:
    """True if the file is what would be written."""
    return path.is_file() and path.stat().st_size == len(text.encode()) and path.read_bytes() == text.encode()


def _refuse_to_overwrite(output: Path, inputs: list[Path]) -> None:
    for written in (output, output / CALIBRATION_FILE):
        for given in inputs:
            if written.exists() and written.samefile(given):
                raise BadConfig(
                    f"The output {output} would replace the input {given}.", "Give another output (-o, output=)."
                )


def _write_model(proto: onnx.ModelProto, output: Path) -> None:
    if sum(len(tensor.raw_data) for tensor in proto.graph.initializer) > LARGEST_SINGLE_FILE:
        raise BadConfig(
            "The Q/DQ model is too large for one file.",
            "Convert to json, then export for tensorrt.",
        )
    with atomic_file(output) as temporary:
        onnx.save_model(proto, str(temporary))


def _write_run(
    imported: Imported,
    ranges: dict[str, TensorRange],
    model: ModelFile,
    file: Path,
    calibration: Calibration | None,
    notes: tuple[str, ...],
    folder: Path,
) -> None:
    """Write a run directory for ``quantkit export``: ranges and their origin, but no counts."""
    origin = f"{file} ({imported.form}{', ' + imported.header if imported.header else ''})"
    unknown = f"The ranges are imported from {origin}: nothing is known here of the images and their preprocessing."
    document = Calibration(
        created=now(),
        versions={name: installed(name) for name in ("numpy", "onnx", "onnxruntime")} | {"quantkit": __version__},
        model=ModelRef(path=str(normalized(model.path)), sha256=model.sha256()),
        data=DataRef(path=str(normalized(file)), sha256=sha256_of(file)),
        preprocess=calibration.preprocess if calibration else Preprocess(),
        samples=0,
        batch_size=1,
        seed=0,
        method=IMPORTED,
        exclude=imported.exclude,
        warnings=(*(() if calibration else (unknown,)), *notes),
        tensors={
            name: TensorCalibration(
                amax=range_.amax,
                low=range_.low,
                high=range_.high,
                method=IMPORTED,
                reason=f"imported from {origin}",
                candidates={IMPORTED: range_},
            )
            for name, range_ in ranges.items()
        },
    )
    with own_folder(folder):
        if is_run(folder) and load_calibration(folder).method != IMPORTED:
            raise BadRun(f"{folder} holds a calibration that was measured.", "Give another folder (-o, output=).")
        if (folder / PARTIAL).exists():
            raise BadRun(f"{folder} holds an interrupted calibration.", "Give another folder (-o, output=).")
        with replacing(folder, PRECISIONS, without_manifest=True) as new:
            save_calibration(document, new)
