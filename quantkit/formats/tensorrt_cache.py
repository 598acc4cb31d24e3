"""TensorRT's calibration cache: a header, then ``name: scale`` lines.

The first line is ``TRT-<version>-<algorithm>``; each further line holds the big-endian float32 of scale = amax / 127 in
hex. TensorRT refuses a cache of another algorithm or major version; 8.6.0 accepted one of 8.4.1 (measured). Polygraphy
keeps these bytes unchanged.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from quantkit.core.errors import BadConfig, BadData
from quantkit.formats.imported import Imported, from_amax
from quantkit.formats.lines import named_values, refuse_line_breaks, split_lines

ENTROPY = "EntropyCalibration2"
MINMAX = "MinMaxCalibration"
HEADER = re.compile(r"TRT-(\d+)-(\w+)")
CACHE_LINE = re.compile(r".+: [0-9a-fA-F]{8}")
LEGACY_HEADER = re.compile(r"\d+ [0-9a-fA-F]{1,16} [0-9a-fA-F]{1,16}")


def version_number(version: str) -> int:
    """Return the number in a cache header: 8601 for 8.6.1, 100300 for 10.3.0. Raises BadInput for anything else."""
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,2}){0,2}", version):
        raise BadConfig(f"{version!r} is not a TensorRT version.", "Write it like 8.6.1 or 10.3.")
    major, minor, patch = (int(part) for part in [*version.split("."), "0", "0"][:3])
    return major * (1000 if major < 10 else 10000) + minor * 100 + patch


def cache_text(amax: Mapping[str, float], version: str, algorithm: str) -> str:
    """Format a calibration cache, in the given order.

    Args:
        amax: The amax by tensor.
        version: The version of TensorRT, such as "8.6.1".
        algorithm: ``ENTROPY`` or ``MINMAX``.

    Returns:
        The content of the file.

    Raises:
        BadInput: The version is not one, or a tensor name contains a line break.
    """
    return text_with_header(amax, f"TRT-{version_number(version)}-{algorithm}")


def text_with_header(amax: Mapping[str, float], header: str) -> str:
    """Format a calibration cache whose first line is ``header``.

    Raises BadInput for a tensor name with a line break.
    """
    lines = [header]
    for name, value in amax.items():
        refuse_line_breaks(name)
        # Rounded once, so that a scale read from a cache is written back unchanged: 127 * scale is exact in float64.
        lines.append(f"{name}: {struct.pack('>f', value / 127).hex()}")
    return "\n".join(lines) + "\n"


def header_of(found: str, default_version: str, version: str | None, algorithm: str | None) -> str:
    """Return the first line to write.

    Args:
        found: The source's first line; empty if it has none.
        default_version: The version to use where neither ``version`` nor ``found`` says one.
        version: The requested version; None keeps that of ``found``.
        algorithm: The requested algorithm; None keeps that of ``found``.

    Returns:
        The header of a calibration cache.
    """
    match = HEADER.fullmatch(found)
    number = match[1] if match and version is None else str(version_number(version or default_version))
    return f"TRT-{number}-{algorithm or (match[2] if match else ENTROPY)}"


def parse_cache(text: str, source: str) -> tuple[str, dict[str, float]]:
    """Parse a calibration cache. A name may contain colons.

    Args:
        text: The content of the file.
        source: What error messages call the file.

    Returns:
        The first line, and the amax by tensor with zeros unchanged.

    Raises:
        BadInput: The text is not a cache that quantkit reads, or a line is damaged.
    """
    header, *lines = split_lines(text)
    if LEGACY_HEADER.fullmatch(header):
        raise BadData(
            f"{source} is a cache of TensorRT's legacy calibrator, which quantkit does not read.",
            "Give the cache of an entropy or min-max calibrator, or calibrate again with quantkit calibrate.",
        )
    if not HEADER.fullmatch(header):
        raise BadData(
            f"{source} is not a TensorRT calibration cache: its first line is {header[:80]!r}.",
            "The first line must be like TRT-8600-EntropyCalibration2.",
        )
    return header, named_values(lines, 2, ": ", _amax_of, source)


def is_cache(text: str) -> bool:
    """True if the header, or else one of the first two lines, looks like that of a calibration cache."""
    start = split_lines(text)[:2]
    headed = start[0].startswith("TRT-") or LEGACY_HEADER.fullmatch(start[0])
    return bool(headed) or any(map(CACHE_LINE.fullmatch, start))


def read_cache(text: str, source: str) -> Imported:
    """Read the ranges of a cache of any version and algorithm.

    Raises BadInput, naming ``source``, for a damaged one.
    """
    header, amax = parse_cache(text, source)
    return from_amax("TensorRT calibration cache", amax, source, header)


def _amax_of(digits: str) -> float:
    if not re.fullmatch(r"[0-9a-fA-F]{1,8}", digits):
        raise ValueError("does not end in the hex of a float32")
    if len(digits) < 8 and int(digits, 16):  # TensorRT drops leading zeros, but no scale is as small as 2^-96
        raise ValueError("ends in a float32 whose hex is cut short")
    scale: float = struct.unpack(">f", bytes.fromhex(digits.zfill(8)))[0]
    return scale * 127
