"""Reads and writes the statistics of a pass: ``histograms.npz``, ``statistics.npz`` and ``moments.npz``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from quantkit.core.errors import BadRun
from quantkit.core.files import write_npz
from quantkit.core.npz import LARGEST, read_npz
from quantkit.core.reading import read_file
from quantkit.core.statistics.channels import ChannelStatistics
from quantkit.core.statistics.collected import Collected
from quantkit.core.statistics.extent import Extent
from quantkit.core.statistics.histogram import BINS, Histogram
from quantkit.core.statistics.moments import Moments
from quantkit.core.statistics.moving import MovingExtremes

HISTOGRAMS_FILE = "histograms.npz"
STATISTICS_FILE = "statistics.npz"
MOMENTS_FILE = "moments.npz"
COLLECTED_FILES = (HISTOGRAMS_FILE, STATISTICS_FILE, MOMENTS_FILE)
FIELDS = ("names", "negative", "positive", "width", "minimum", "maximum", "moving")  # of histograms.npz
LONGEST_MOVING = 400  # hexadecimal digits of a sum; 2^128 in units of 2^-200, by 2^64 samples, has 98


def save_collected(folder: Path, collected: Collected, exact: bool = True) -> None:
    """Write the files of COLLECTED_FILES, each atomically.

    Args:
        folder: The folder.
        collected: The statistics.
        exact: True to keep every digit of moments, which parts of a pass need to merge; else those of FP32.
    """
    save_moments(folder / MOMENTS_FILE, collected.moments, exact)
    save_histograms(folder / HISTOGRAMS_FILE, collected.histograms)
    channels, extents = list(collected.channels.values()), list(collected.extents.values())
    sizes = [len(c.total) for c in channels]
    arrays = {
        "names": np.array(list(collected.channels), dtype=np.str_),
        "sizes": np.array(sizes, dtype=np.int64),
        "minimum": _joined([c.minimum for c in channels], np.float32),
        "maximum": _joined([c.maximum for c in channels], np.float32),
        "total": _joined([c.total for c in channels], np.int64),
        "unit": np.array([c.unit for c in channels], dtype=np.float64),
        "samples": np.array([c.samples for c in channels], dtype=np.int64),
        "early_minimum": np.array([e.early_minimum for e in extents], dtype=np.float64),
        "early_maximum": np.array([e.early_maximum for e in extents], dtype=np.float64),
        "largest": np.array([e.largest for e in extents], dtype=np.float64),
        "position": np.array([e.position for e in extents], dtype=np.int64),
        "runner_up": np.array([e.runner_up for e in extents], dtype=np.float64),
    }
    write_npz(folder / STATISTICS_FILE, arrays)


def load_collected(
    folder: Path, digests: Mapping[str, str] | None = None, find: Callable[[Path, str], Path] = Path.joinpath
) -> Collected:
    """Read the files of a folder.

    Args:
        folder: The folder.
        digests: The hex SHA-256 of each file by name, where they are known.
        find: Returns the path of a file from the folder and its name.

    Returns:
        The statistics.

    Raises:
        BadRun: A file is missing, damaged, of another calibration or not written by quantkit.
    """
    digests = digests or {}
    histograms = load_histograms(find(folder, HISTOGRAMS_FILE), digests.get(HISTOGRAMS_FILE))
    path = find(folder, STATISTICS_FILE)
    try:
        found = read_npz(_bytes_of(path, digests.get(STATISTICS_FILE)))
        channels, extents = _statistics(found, histograms)
        path = find(folder, MOMENTS_FILE)
        moments = read_npz(_bytes_of(path, digests.get(MOMENTS_FILE)))
        return Collected(histograms, channels, extents, _moments(moments))
    except (OSError, ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise BadRun(f"{path} is damaged ({error}).", "Calibrate again (--fresh, fresh=True).") from error


def _statistics(
    found: Mapping[str, Any], histograms: Mapping[str, Histogram]
) -> tuple[dict[str, ChannelStatistics], dict[str, Extent]]:
    names = [str(name) for name in found["names"]]
    sizes = found["sizes"]
    ends = np.cumsum(sizes)
    if not set(names) <= set(histograms) or len(set(names)) != len(names):
        raise ValueError("'names' are not those of the histograms")
    if (sizes < 0).any() or any(len(found[k]) != ends[-1:].sum() for k in ("minimum", "maximum", "total")):
        raise ValueError("'sizes' do not fit the channels")
    if not (np.isfinite(found["unit"]) & (found["unit"] > 0)).all():
        raise ValueError("'unit' is not above 0 everywhere")
    if (found["samples"] < 0).any() or np.isnan(found["minimum"]).any() or np.isnan(found["maximum"]).any():
        raise ValueError("'samples', 'minimum' or 'maximum' are no such figures")
    channels, extents = {}, {}
    for i, (name, end) in enumerate(zip(names, ends, strict=True)):
        own = slice(int(end - sizes[i]), int(end))
        channels[name] = ChannelStatistics(
            found["minimum"][own].astype(np.float32),
            found["maximum"][own].astype(np.float32),
            found["total"][own].astype(np.int64),
            float(found["unit"][i]),
            int(found["samples"][i]),
        )
        extents[name] = Extent(
            float(found["early_minimum"][i]),
            float(found["early_maximum"][i]),
            float(found["largest"][i]),
            int(found["position"][i]),
            float(found["runner_up"][i]),
        )
    return channels, extents


def save_histograms(path: Path, histograms: Mapping[str, Histogram]) -> None:
    """Write all histograms to one compressed npz file, atomically."""
    values = list(histograms.values())
    arrays = {
        "names": np.array(list(histograms), dtype=np.str_),
        "negative": np.array([h.negative for h in values], dtype=np.int64).reshape(-1, BINS + 1),
        "positive": np.array([h.positive for h in values], dtype=np.int64).reshape(-1, BINS + 1),
        "width": np.array([h.width for h in values], dtype=np.float64),
        "minimum": np.array([h.minimum for h in values], dtype=np.float64),
        "maximum": np.array([h.maximum for h in values], dtype=np.float64),
        # low, high and weight as text, because they have more than 64 bits.
        "moving": np.array([[f"{n:x}" for n in astuple(h.moving)] for h in values], dtype=np.str_).reshape(-1, 3),
    }
    write_npz(path, arrays)


def load_histograms(path: Path, sha256: str | None = None) -> dict[str, Histogram]:
    """Read a file written by :func:`save_histograms`, whose digest may be known.

    Raises BadRun if it is missing, damaged, another file or not written by quantkit.
    """
    try:
        fields = read_npz(_bytes_of(path, sha256), FIELDS)
        _check_histograms(fields)
        moving = [MovingExtremes(*(int(n, 16) for n in row)) for row in fields["moving"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRun(
            f"{path} is not a readable histogram file ({error}).", "Calibrate again (--fresh, fresh=True)."
        ) from error
    return {
        str(name): Histogram(
            fields["negative"][i],
            fields["positive"][i],
            float(fields["width"][i]),
            float(fields["minimum"][i]),
            float(fields["maximum"][i]),
            moving[i],
        )
        for i, name in enumerate(fields["names"])
    }


def save_moments(path: Path, moments: Mapping[str, Moments], exact: bool) -> None:
    """Write all moments to one npz file, atomically, with one triangle of each matrix."""
    dtype, values = np.float64 if exact else np.float32, list(moments.values())
    triangles = [_triangle(m.products) for m in values]
    arrays = {
        "names": np.array(list(moments), dtype=np.str_),
        "shapes": np.array([m.sums.shape for m in values], dtype=np.int64).reshape(-1, 2),
        "products": _joined(triangles, dtype),
        "sums": _joined([m.sums.reshape(-1) for m in values], dtype),
        "rows": np.array([m.rows for m in values], dtype=np.int64),
        "unit": np.array([m.unit for m in values], dtype=np.float64),
    }
    write_npz(path, arrays, compressed=False)  # compression would save a tenth, and take seconds


def _triangle(products: Any) -> Any:
    row, column = np.tril_indices(products.shape[-1])
    return products[:, row, column].reshape(-1)


def _moments(found: Mapping[str, Any]) -> dict[str, Moments]:
    names, shapes = [str(name) for name in found["names"]], found["shapes"]
    count = len(names)
    if shapes.shape != (count, 2) or any(len(found[key]) != count for key in ("rows", "unit")):
        raise ValueError("'shapes', 'rows' or 'unit' does not fit 'names'")
    if (shapes <= 0).any() or (found["rows"] <= 0).any() or len(set(names)) != count:
        raise ValueError("'names', 'shapes' or 'rows' are no such figures")
    if {found["products"].dtype, found["sums"].dtype} not in ({np.dtype(np.float32)}, {np.dtype(np.float64)}):
        raise ValueError("'products' and 'sums' are not of one type of number")
    if not all(np.isfinite(found[key]).all() for key in ("products", "sums", "unit")) or (found["unit"] <= 0).any():
        raise ValueError("'products', 'sums' or 'unit' is not finite")
    sizes = [(int(parts), int(each)) for parts, each in shapes]
    wanted = [parts * each * (each + 1) // 2 for parts, each in sizes]
    if (sum(wanted), sum(parts * each for parts, each in sizes)) != (len(found["products"]), len(found["sums"])):
        raise ValueError("'products' or 'sums' does not fit 'shapes'")
    moments, product, value = {}, 0, 0
    for i, (parts, each) in enumerate(sizes):
        triangle = found["products"][product : product + wanted[i]].reshape(parts, -1)
        products = np.zeros((parts, each, each), triangle.dtype)
        row, column = np.tril_indices(each)
        products[:, row, column] = triangle
        products[:, column, row] = triangle
        sums = found["sums"][value : value + parts * each].reshape(parts, each)
        moments[names[i]] = Moments(products, sums, int(found["rows"][i]), float(found["unit"][i]))
        product, value = product + wanted[i], value + parts * each
    return moments


def _bytes_of(path: Path, sha256: str | None) -> bytes:
    data = read_file(path, LARGEST, BadRun, "statistics file")
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError("it is not the one that belongs to the calibration")
    return data


def _check_histograms(fields: Mapping[str, Any]) -> None:
    """Raise ValueError, which names the array, unless the histograms could have been counted."""
    count = len(fields["names"])
    if fields["negative"].shape != (count, BINS + 1) or fields["positive"].shape != (count, BINS + 1):
        raise ValueError("'negative' or 'positive' has the wrong shape")
    if any(len(fields[key]) != count for key in FIELDS) or fields["moving"].shape != (count, 3):
        raise ValueError("its arrays differ in length")
    if len(set(fields["names"].tolist())) != count or fields["names"].dtype.kind != "U":
        raise ValueError("'names' are not different texts")
    for key in ("negative", "positive"):
        if fields[key].dtype != np.int64 or (fields[key] < 0).any():
            raise ValueError(f"{key!r} holds something else than counts")
    for key in ("width", "minimum", "maximum"):
        if fields[key].dtype.kind != "f" or not np.isfinite(fields[key]).all():
            raise ValueError(f"{key!r} is not finite everywhere")
    if (fields["width"] <= 0).any() or (fields["minimum"] > fields["maximum"]).any():
        raise ValueError("'width' is not above 0, or 'minimum' is above 'maximum'")
    if fields["moving"].dtype.itemsize > LONGEST_MOVING * 4:
        raise ValueError("'moving' is too long")


def _joined(arrays: list[Any], dtype: Any) -> Any:
    return np.concatenate([*arrays, np.zeros(0, dtype)]).astype(dtype)
