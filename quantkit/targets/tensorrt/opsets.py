"""What a release of TensorRT reads: which ONNX opsets, and which forms of INT8."""

from __future__ import annotations

from dataclasses import dataclass

from quantkit.core.releases import Release, release_of
from quantkit.formats.tensorrt_cache import version_number
from quantkit.targets.tensorrt.engine.plan import FIRST_ONLY_STRONG, FIRST_STRONG

# The newest opset by the first release that reads it, as the page "Supported ONNX Operators" of each release's branch
# says (docs/operators.md of https://github.com/onnx/onnx-tensorrt: "TensorRT 8.6 supports operators up to Opset 17",
# 8.4: 13, 8.5: 17, 9.2: 19, 10.0: 9 to 20, 10.15: 9 to 24), and for TensorRT 11
# https://docs.nvidia.com/deeplearning/tensorrt/latest/reference/onnx-opset-guide.html and the notes of release 11.5.
NEWEST_OPSETS: tuple[tuple[Release, int], ...] = (
    ((8, 0), 13),
    ((8, 5), 17),
    ((9, 2), 19),
    ((10, 0), 20),
    ((10, 15), 24),
    ((11, 5), 25),
)


def newest_opset(release: Release) -> int:
    """Return the newest opset that a release of TensorRT reads."""
    return max((opset for first, opset in NEWEST_OPSETS if release >= first), default=NEWEST_OPSETS[0][1])


def first_reader(opset: int) -> Release | None:
    """Return the first release that reads an opset; None if none is known to."""
    return next((first for first, newest in NEWEST_OPSETS if newest >= opset), None)


@dataclass(frozen=True)
class Reads:
    """What the version that the user named reads; without one, what releases 8.6 to 11 read is all written.

    Attributes:
        version: The version, such as "8.6.1"; None if the user named none.
    """

    version: str | None

    def __post_init__(self) -> None:
        """Raise BadConfig for what is no version."""
        if self.version is not None:
            version_number(self.version)

    @property
    def release(self) -> Release | None:
        """Major and minor of the version; None without one."""
        return None if self.version is None else release_of(self.version)

    @property
    def name(self) -> str:
        """The version as people read it."""
        return f"TensorRT {self.version or '8.6 to 11'}"

    @property
    def newest_opset(self) -> int | None:
        """The newest opset that the version reads; None without one."""
        return None if self.release is None else newest_opset(self.release)

    @property
    def implicit(self) -> bool:
        """True if calibration caches and dynamic ranges are of use, which TensorRT 11 removed."""
        return self.release is None or self.release < FIRST_ONLY_STRONG

    @property
    def strong(self) -> bool:
        """True if there are strongly typed networks, which TensorRT 10 brought."""
        return self.release is None or self.release >= FIRST_STRONG
