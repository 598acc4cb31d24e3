"""TensorRT's calibration cache: a header, then ``name: scale`` lines.

The first line is ``TRT-<version>-<algorithm>``; each further line holds the big-endian float32 of scale = amax / 127 in
hex. TensorRT refuses a cache of another algorithm or major version; 8.6.0 took one of 8.4.1 (measured). Polygraphy
keeps these bytes as they are.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from quantkit.core.errors import BadInput
from quantkit.formats.imported import Imported, from_amax
from quantkit.formats.lines import named_values, refuse_line_breaks, split_lines

ENTROPY = "EntropyCalibration2"
MINMAX = "MinMaxCalibration"
HEADER = re.compile(r"TRT-(\d+)-(\w+)")
CACHE_LINE = re.compile(r".+: [0-9a-fA-F]{8}")
LEGACY_HEADER = re.compile(r"\d+ [0-9a-fA-F]{1,16} [0-9a-fA-F]{1,16}")


def version_number(version: str) -> int:
    """8.6.1 as 8601, 10.3.0 as 100300. Raises BadInput for anything else."""
    if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,2}){0,2}", version):
        raise BadInput(f"{version!r} is not a TensorRT version.", "Write it like 8.6.1 or 10.3.")
    major, minor, patch = (int(part) for part in [*version.split("."), "0", "0"][:3])
    return major * (1000 if major < 10 else 10000) + minor * 100 + patch


def cache_text(amax: Mapping[str, float], version: str, algorithm: str) -> str:
    """The cache as text, in the order given. Raises BadInput for a tensor name with a line break."""
    return text_with_header(amax, f"TRT-{version_number(version)}-{algorithm}")


def text_with_header(amax: Mapping[str, float], header: str) -> str:
    """The cache under a first line that is known already."""
    lines = [header]
    for name, value in amax.items():
        refuse_line_breaks(name)
        # Rounded once: a scale that was read from a cache, 127 times which is exact in float64, comes out as it was.
        lines.append(f"{name}: {struct.pack('>f', value / 127).hex()}")
    return "\n".join(lines) + "\n"


def header_of(found: str, default_version: str, version: str | None, algorithm: str | None) -> str:
    """The first line to write: ``found``, the source's (empty: none), with what is asked for put in its place."""
    match = HEADER.fullmatch(found)
    number = match[1] if match and version is None else str(version_number(version or default_version))
    return f"TRT-{number}-{algorithm or (match[2] if match else ENTROPY)}"


def parse_cache(text: str, source: str) -> tuple[str, dict[str, float]]:
    """The header and amax by tensor, zeros as they are; names may hold colons. Raises BadInput for a damaged line."""
    header, *lines = split_lines(text)
    if LEGACY_HEADER.fullmatch(header):
        raise BadInput(
            f"{source} is a cache of TensorRT's legacy calibrator, which quantkit does not read.",
            "Give the cache of an entropy or min-max calibrator, or calibrate again with quantkit calibrate.",
        )
    if not HEADER.fullmatch(header):
        raise BadInput(
            f"{source} is not a TensorRT calibration cache: its first line is {header[:80]!r}.",
            "The first line must be like TRT-8600-EntropyCalibration2.",
        )
    return header, named_values(lines, 2, ": ", _amax_of, source)


def is_cache(text: str) -> bool:
    """True if text is meant as a cache: by its header or, where that is foreign or missing, by the next lines."""
    start = split_lines(text)[:2]
    headed = start[0].startswith("TRT-") or LEGACY_HEADER.fullmatch(start[0])
    return bool(headed) or any(map(CACHE_LINE.fullmatch, start))


def read_cache(text: str, source: str) -> Imported:
    """A cache of any version and algorithm. Raises BadInput for a damaged one."""
    header, amax = parse_cache(text, source)
    return from_amax("TensorRT calibration cache", amax, source, header)


def _amax_of(digits: str) -> float:
    if not re.fullmatch(r"[0-9a-fA-F]{1,8}", digits):
        raise ValueError("does not end in the hex of a float32")
    if len(digits) < 8 and int(digits, 16):  # TensorRT pads nothing, but no scale is as small as 2^-96
        raise ValueError("ends in a float32 whose hex is cut short")
    scale: float = struct.unpack(">f", bytes.fromhex(digits.zfill(8)))[0]
    return scale * 127
