"""Rules about 2:4 sparse weights, for which TensorRT has kernels of their own."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from quantkit.graph.sparsity import sparsity_of
from quantkit.targets.tensorrt.lint.finding import Finding


def sparsity(model: onnx.ModelProto) -> Iterator[Finding]:
    """Yield a note on the layers that are 2:4 sparse, and one on those that nearly are."""
    found = sparsity_of(model)
    if found.sparse:
        what = (
            f"The weights of {len(found.sparse)} of {len(found.layers)} layers are 2:4 sparse along their input "
            f"channels, {found.share:.0%} of all weights' values."
        )
        yield Finding("sparse-weights", tuple(layer.name for layer in found.sparse), what)
    if found.broken:
        what = (
            f"The weights of {len(found.broken)} layers are nearly 2:4 sparse: of {found.broken[0].name!r}, "
            f"{found.broken[0].share:.2%} of the groups have their two zeros. No sparse kernel takes them."
        )
        yield Finding("nearly-sparse", tuple(layer.name for layer in found.broken), what)
