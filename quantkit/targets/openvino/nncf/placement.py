"""Makes an INT8 ``openvino.Model`` with NNCF's placement and the calibration's ranges."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantkit.core.preprocess import Preprocess
from quantkit.core.recipe import Recipe
from quantkit.core.wording import some
from quantkit.graph.fused import with_fused
from quantkit.graph.graph import Graph
from quantkit.graph.model_file import ModelFile
from quantkit.targets.openvino import library
from quantkit.targets.openvino.frontend import read_onnx
from quantkit.targets.openvino.layers import mark_excluded
from quantkit.targets.openvino.nncf import adapter as nncf_adapter
from quantkit.targets.openvino.nncf.attention import has_attention
from quantkit.targets.openvino.settings import OpenVinoSettings
from quantkit.targets.openvino.tensors import excluded_operations, known_of


def placed_by_nncf(
    model: ModelFile,
    recipe: Recipe,
    settings: OpenVinoSettings,
    seven_bit_weights: bool,
    exclude: Mapping[str, str] | None = None,
    smooth: bool = True,
    correct_biases: bool = True,
) -> tuple[nncf_adapter.Placed, tuple[str, ...]]:
    """Quantize a model with NNCF's placement.

    Args:
        model: The user's model.
        recipe: The ranges and the statistics of channels.
        settings: NNCF's settings.
        seven_bit_weights: True for x86 without VNNI, where u8·s8 sums of two products saturate 16 bits.
        exclude: The reasons by wildcard; nodes whose name or output matches one stay in floating point.
        smooth: True to apply NNCF's SmoothQuant, if the model is a transformer.
        correct_biases: True to apply NNCF's fast bias correction.

    Returns:
        The quantized model, and notes on SmoothQuant and on tensors without a range.

    Raises:
        BackendMissing: NNCF is not installed or not of a tested release.
        TargetRefuses: The model cannot be prepared, or OpenVINO cannot read it.
    """
    from quantkit.graph.save import MODEL_FILE, save_model
    from quantkit.transforms.prepare import prepared

    library.require_nncf()
    proto = prepared(model)
    graph = Graph(proto.graph)
    with tempfile.TemporaryDirectory(prefix="quantkit-") as folder:
        save_model(proto, Path(folder))
        converted = read_onnx(Path(folder) / MODEL_FILE, model.path)
        _simplify(converted)
        ranges = with_fused(graph, recipe.quantized_ranges)
        excluded = excluded_operations(converted, graph, exclude or {})
        statistics = nncf_adapter.Statistics(
            known=lambda output: known_of(output, recipe, ranges),
            static_shapes=lambda model: _static_shapes(model, recipe),
        )
        transformer = settings.model_type == "transformer" or (settings.model_type == "auto" and has_attention(graph))
        placed = nncf_adapter.quantize(
            converted,
            statistics,
            settings,
            transformer,
            sorted(excluded),
            seven_bit_weights,
            smooth,
            correct_biases,
        )
    mark_excluded(placed.model, excluded)
    notes = []
    derived = sum(known.derived for together, _ in placed.activations.values() for known in together)
    if derived:
        notes.append(f"SmoothQuant scales the channels of {derived} tensors; their ranges are those of the extremes.")
    if placed.without_range:
        notes.append(
            f"No range is calibrated for {len(placed.without_range)} tensors that NNCF would quantize "
            f"({some(placed.without_range)}); what reads them stays in floating point."
        )
    return placed, tuple(notes)


def _simplify(model: Any) -> None:
    """Apply OpenVINO's own simplifications, as its converter does: constants folded, patterns of one operator fused."""
    from openvino._offline_transformations import apply_moc_transformations

    apply_moc_transformations(model, cf=True, smart_reshape=False)


def _static_shapes(model: Any, recipe: Recipe) -> dict[tuple[str, int], tuple[int, ...]]:
    """Return the shape of every output for one sample, by friendly name and port, without shapes that are unknown."""
    copy = model.clone()
    images = recipe.preprocess if isinstance(recipe.preprocess, Preprocess) else Preprocess()
    size = images.size
    shapes = {}
    for value in copy.inputs:
        dimensions = [
            d.get_length() if d.is_static else 1 if i == 0 else None for i, d in enumerate(value.partial_shape)
        ]
        if None in dimensions and size is not None and len(dimensions) == 4:
            first = 1 if images.layout == "nhwc" else 2
            dimensions[first : first + 2] = size
        if None not in dimensions:
            shapes[value.any_name] = dimensions
    try:
        copy.reshape(shapes)
    except RuntimeError:
        copy = model
    return {
        (op.get_friendly_name(), output.get_index()): tuple(output.get_shape())
        for op in copy.get_ops()
        for output in op.outputs()
        if output.get_partial_shape().is_static
    }
