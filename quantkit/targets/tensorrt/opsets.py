"""Which ONNX opsets TensorRT's parser reads."""

from __future__ import annotations

from quantkit.core.releases import Release

OLDEST_OPSET = 9
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
