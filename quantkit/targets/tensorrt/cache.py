"""TensorRT's calibration cache: a header, then ``name: scale`` lines.

The first line is ``TRT-<version>-<algorithm>``; each further line holds the big-endian float32 of scale = amax / 127 in
hex. TensorRT takes a cache only from its own version and algorithm.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from quantkit.core.errors import BadInput, TargetRefuses

ENTROPY = "EntropyCalibration2"
MINMAX = "MinMaxCalibration"


def version_number(version: str) -> int:
    """8.6.1 as 8601, 10.3.0 as 100300. Raises BadInput for anything else."""
    if not re.fullmatch(r"\d{1,2}(\.\d{1,2}){0,2}", version):
        raise BadInput(f"{version!r} is not a TensorRT version.", "Write it like 8.6.1 or 10.3.")
    major, minor, patch = (int(part) for part in [*version.split("."), "0", "0"][:3])
    return major * (1000 if major < 10 else 10000) + minor * 100 + patch


def cache_text(amax: Mapping[str, float], version: str, algorithm: str) -> str:
    """The cache as text, in the order given. Raises BadInput for a tensor name with a line break."""
    lines = [f"TRT-{version_number(version)}-{algorithm}"]
    for name, value in amax.items():
        _refuse_line_breaks(name)
        # Division in float32, as TensorRT does it: rounding amax first keeps minmax caches equal to the last bit.
        scale = struct.unpack("<f", struct.pack("<f", value))[0] / 127
        lines.append(f"{name}: {struct.pack('>f', scale).hex()}")
    return "\n".join(lines) + "\n"


def parse_cache(text: str, source: str) -> tuple[str, dict[str, float]]:
    """The header and amax by tensor; names may hold colons. Raises BadInput for a damaged line."""
    lines = text.splitlines()
    if not lines or not lines[0].startswith("TRT-"):
        raise BadInput(f"{source} is not a TensorRT calibration cache.", "Its first line must be TRT-<version>-...")
    amax = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        name, separator, digits = line.rpartition(": ")
        if not separator or not re.fullmatch(r"[0-9a-fA-F]{1,8}", digits):
            raise BadInput(f"Line {number} of {source} is not 'name: hex'.", "Write the cache again.")
        amax[name] = struct.unpack(">f", bytes.fromhex(digits.zfill(8)))[0] * 127
    return lines[0], amax


def ranges_text(amax: Mapping[str, float]) -> str:
    """Dynamic ranges as sampleINT8API and trtexec's users read them: ``name:amax`` lines."""
    for name in amax:
        _refuse_line_breaks(name)
    return "".join(f"{name}:{value:.9g}\n" for name, value in amax.items())


def _refuse_line_breaks(name: str) -> None:
    if name.splitlines() != [name]:
        raise TargetRefuses(f"The tensor name {name!r} holds a line break.", "Rename the tensor and calibrate again.")
