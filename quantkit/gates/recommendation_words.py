"""A recommendation in words, and as a record."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePosixPath

from quantkit.core.comparison import Advice, Comparison, Recommendation, Row
from quantkit.gates.recommendation import Choice, recommend
from quantkit.gates.speed import CLEARLY

MUCH_SMALLER = 0.75  # of the size; a file that is smaller by less is no reason


def sentence(choice: Choice, comparison: Comparison, with_file: bool = True) -> str:
    """Say in a sentence or two what to ship on one target, why, and what becomes of INT8.

    Args:
        choice: The choice.
        comparison: The comparison that it was made from.
        with_file: Name the file to ship, and its size.

    Returns:
        The sentences, such as ``Ship INT8 on openvino: artifacts/openvino/int8/model.xml (0.48 MB), 3.49x FP32's speed
        (3.21–3.72x), with no loss of top-1 beyond chance.``
    """
    row, int8 = choice.row, choice.int8
    what, at = _name(row, comparison), _at(row, comparison)
    ship = f"Ship {what}{at}" + (f": {_file(row, comparison)}" if with_file else "")
    if choice.loss_of_row is not None:
        return f"{ship}, for want of better: {choice.loss_of_row.of(what)}."
    if choice.outcome == "int8":
        return f"{ship}, {_speed(row)}, {_judged(row, comparison)}."
    if choice.outcome == "not measured" or int8 is None:
        return f"{ship}{'' if row.is_reference else f', {_speed(row)}'}. INT8 was not measured."
    own = _name(int8, comparison)
    it = "it" if choice.loss is not None and choice.loss.kind in ("significant", "answers") else own
    if choice.outcome == "by name only":
        return f"{ship}. INT8 is that by name only here: no layer of it ran in INT8, but in {int8.executed_precision}."
    if choice.outcome == "tune" and choice.loss is not None:
        return (
            f"{ship}. {own} is {row.latency_ms.p50 / int8.latency_ms.p50:.2f}x as fast, but "
            f"{choice.loss.of(it)}: {tune_command(int8, comparison)} could win it back, "
            "with the most harmful layers in floating point if need be."
        )
    if choice.loss is not None:
        return f"{ship}. INT8 is not worth it here: {own} is no faster, and {choice.loss.of(it)}."
    as_good = "is not slower" if row.is_reference else "is as accurate and not slower"
    smaller = int8.size_bytes < MUCH_SMALLER * row.size_bytes
    size = f", unless its size matters ({megabytes(int8)} for {megabytes(row)})" if smaller else ""
    if row.latency_ms.p50 / int8.latency_ms.p50 >= CLEARLY:  # but within the spread of the rounds
        as_good += ", as far as the rounds can tell,"
    return f"{row.precision.upper()} {as_good}{at}: INT8 is not worth it here{size}. {ship}."


def recommendation_of(comparison: Comparison) -> Recommendation:
    """Return what to ship on each target, device and batch size, and why."""
    found = recommend(comparison)

    def told(choice: Choice) -> Advice:
        row = choice.row
        return Advice(
            target=row.target,
            device=row.device,
            batch=row.batch,
            shape=row.shape,
            precision=row.precision,
            variant=row.variant,
            path=row.path,
            size_bytes=row.size_bytes,
            speedup=row.speedup,
            int8=choice.outcome,
            sentence=sentence(choice, comparison),
        )

    return Recommendation(overall=told(found.overall), choices=tuple(told(choice) for choice in found.each))


def tune_command(int8: Row, comparison: Comparison) -> str:
    """Return the command that makes the INT8 of a row more accurate, in backquotes."""
    run = "RUN" if comparison.folder is None else shlex.quote(str(comparison.folder))
    data = shlex.quote(comparison.data) if Path(comparison.data).is_absolute() else "DATA"
    at = f" --batch-size {int8.batch}" if int8.batch != 1 else ""
    return f"`quantkit tune {run} --data {data} --target {shlex.quote(int8.target)}{at}`"


def file_of(row: Row, comparison: Comparison) -> str:
    """Return the path of a row's file, from where the command is given; empty if it was not kept."""
    if not row.path or comparison.folder is None:
        return row.path
    return row.path if PurePosixPath(row.path).is_absolute() else str(comparison.folder / row.path)


def _name(row: Row, comparison: Comparison) -> str:
    """Return the precision, and the variant where there are several of it."""
    same = [r for r in comparison.rows if (r.target, r.precision) == (row.target, row.precision)]
    several = len({r.variant for r in same}) > 1
    return f"{row.precision.upper()} ({row.variant})" if several and row.variant else row.precision.upper()


def _at(row: Row, comparison: Comparison) -> str:
    """Return `` on openvino``, with device and batch size where there are several."""
    rows = comparison.rows
    device = f" ({row.device})" if len({r.device for r in rows if r.target == row.target}) > 1 else ""
    batch = f" at {row.feed_name}" if len({r.feed for r in rows}) > 1 else ""
    return f" on {row.target}{device}{batch}"


def _file(row: Row, comparison: Comparison) -> str:
    return f"{file_of(row, comparison) or 'quantkit export writes it'} ({megabytes(row)})"


def megabytes(row: Row) -> str:
    """Format the size of a row's files: ``0.48 MB``."""
    return f"{row.size_bytes / 1e6:.2f} MB"


def _speed(row: Row) -> str:
    found = row.speedup_interval
    band = f" ({found.low:.2f}–{found.high:.2f}x)" if found is not None else ""
    return f"{row.speedup:.2f}x FP32's speed{band}"


def _judged(row: Row, comparison: Comparison) -> str:
    """Say what the accuracy of a row without a loss was judged from."""
    if row.changes:
        titles = " and ".join(comparison.metric(name).title for name in row.changes)
        return f"with no loss of {titles} beyond chance"
    sqnr = "equal to FP32 to the bit" if row.sqnr_db is None else f"SQNR {row.sqnr_db:.1f} dB"
    if row.agreement is not None:
        same = f"{100 * row.agreement:.1f} % of the answers are FP32's"
        return f"and {same}, {sqnr}; there is nothing to judge accuracy by" if row.has_sqnr else f"and {same}"
    return f"{sqnr}; there are no answers to judge accuracy by"
