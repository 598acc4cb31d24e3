"""Runs NNCF's algorithms on quantkit's statistics. No other file uses NNCF's internal API; ``library.NNCF`` bounds it.

Each algorithm states the points at which it needs statistics (``get_statistic_points``), reads them from a collector's
cache, where NNCF's own pass over the data would leave them, and then changes the model (``apply``). No image is read.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantkit.core.errors import BackendMissing
from quantkit.core.ranges import LEVELS, TensorRange
from quantkit.qdq.placement import SMALLEST_SCALE
from quantkit.targets.openvino import library
from quantkit.targets.openvino.settings import OpenVinoSettings
from quantkit.targets.openvino.tensors import SMOOTHED, Known


@dataclass(frozen=True)
class Statistics:
    """The adapter's source of statistics.

    Attributes:
        known: Returns the range and channels of an ``openvino.Output``; None if they are unknown.
        static_shapes: Returns the shapes of a model's outputs for one sample, by the operation's friendly name and
            port, without shapes that are unknown.
    """

    known: Callable[[Any], Known | None]
    static_shapes: Callable[[Any], Mapping[tuple[str, int], tuple[int, ...]]]


@dataclass(frozen=True)
class Placed:
    """A quantized ``openvino.Model``.

    Attributes:
        model: The model.
        without_range: The outputs that NNCF would quantize but whose range is unknown; they have no FakeQuantize.
        activations: The calibrations that each FakeQuantize covers, by the tensor that it consumes, and True if it is
            symmetric.
        smoothed: The number of layers whose input SmoothQuant scales.
        corrected: The number of layers with a corrected bias.
    """

    model: Any
    without_range: tuple[str, ...]
    activations: Mapping[str, tuple[tuple[Known, ...], bool]]
    smoothed: int
    corrected: int


def quantize(
    model: Any,
    statistics: Statistics,
    settings: OpenVinoSettings,
    transformer: bool,
    ignored: list[str],
    seven_bit_weights: bool,
    smooth: bool = True,
    correct_biases: bool = True,
) -> Placed:
    """Quantize a model with NNCF's placement.

    Args:
        model: The ``openvino.Model``; it is changed.
        statistics: The ranges and channels.
        settings: NNCF's settings.
        transformer: True for a transformer.
        ignored: The friendly names of operations to leave in floating point.
        seven_bit_weights: True for x86 without VNNI, where u8·s8 sums of two products saturate 16 bits.
        smooth: True to apply SmoothQuant first, if the model is a transformer.
        correct_biases: True to correct biases afterwards.

    Returns:
        The quantized model.

    Raises:
        BackendMissing: NNCF's API is not the one that this file was written for.
    """
    nncf = library.nncf()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # NNCF draws progress bars there
            return _Quantization(nncf, statistics, settings, transformer, ignored, seven_bit_weights).run(
                model, smooth and transformer, correct_biases
            )
    except (ImportError, AttributeError, TypeError) as error:
        raise BackendMissing(
            f"NNCF {nncf.__version__} is not as quantkit knows it ({type(error).__name__}: {error}).",
            f"Run: {library.pip_command('nncf')}, or use the placement qdq.",
        ) from error


class _Quantization:
    def __init__(
        self,
        nncf: Any,
        statistics: Statistics,
        settings: OpenVinoSettings,
        transformer: bool,
        ignored: list[str],
        seven_bit_weights: bool,
    ) -> None:
        from nncf.common.quantization.structs import QuantizationPreset
        from nncf.quantization.advanced_parameters import OverflowFix
        from nncf.quantization.algorithms.min_max.algorithm import MinMaxQuantization

        self._statistics = statistics
        self._algorithm = MinMaxQuantization(
            preset=QuantizationPreset(settings.preset),
            target_device=nncf.TargetDevice(settings.quantize_for),
            model_type=nncf.ModelType.TRANSFORMER if transformer else None,
            ignored_scope=nncf.IgnoredScope(names=ignored, validate=False),
            overflow_fix=OverflowFix.ENABLE if seven_bit_weights else OverflowFix.DISABLE,
        )

    def run(self, model: Any, smooth: bool, correct_biases: bool) -> Placed:
        smoothed = corrected = 0
        if smooth:
            model, smoothed = self._smoothed(model)
        graph, operations = _graph_of(model), _operations(model)
        points = self._algorithm.get_statistic_points(model, graph)
        activations, without = self._fill_ranges(points, graph, operations)
        quantized = self._algorithm.apply(model, graph, points)
        if correct_biases:
            quantized, corrected = self._corrected(model, graph, operations, quantized)
        from openvino._offline_transformations import compress_quantize_weights_transformation

        compress_quantize_weights_transformation(quantized)  # stores weights as INT8, as nncf.quantize does
        return Placed(quantized, tuple(without), activations, smoothed, corrected)

    def _fill_ranges(
        self, points: Any, graph: Any, operations: Mapping[str, Any]
    ) -> tuple[dict[str, tuple[tuple[Known, ...], bool]], list[str]]:
        """Give every collector of ``points`` its statistic, and remove points without a range from the algorithm."""
        from nncf.common.quantization.structs import QuantizationScheme
        from nncf.common.tensor_statistics.statistics import MinMaxTensorStatistic

        configs, groups = self._algorithm._get_quantization_target_points(None, graph)
        found: dict[Any, Known] = {}
        lacking = []
        for point in configs:
            known = None if point.is_weight_target_point() else self._statistics.known(_output(point, operations))
            if known is not None:
                found[point] = known
            elif not point.is_weight_target_point():
                lacking.append(point)
        lacking += [p for group in groups for p in group if any(q in lacking for q in group) and p not in lacking]
        for point in lacking:
            configs.pop(point)
        groups[:] = [group for group in groups if not any(p in lacking for p in group)]
        shared = {p: tuple(dict.fromkeys(found[q] for q in group if q in found)) for group in groups for p in group}
        activations = {}
        for point, collector in _collectors(points):
            if point in lacking:
                continue
            config = configs[point]
            if point.is_weight_target_point():
                node = graph.get_node_by_name(point.target_node_name)
                collector.set_cache(_weight_statistic(node, point, config, operations))
                continue
            symmetric = config.mode == QuantizationScheme.SYMMETRIC
            together = shared.get(point, (found[point],))
            low, high = union([found[point].range], symmetric)
            collector.set_cache(MinMaxTensorStatistic(_tensor([low]), _tensor([high])))
            activations[_label(_output(point, operations))] = (together, symmetric)
        return activations, [_label(_output(point, operations)) for point in lacking]

    def _smoothed(self, model: Any) -> tuple[Any, int]:
        """Apply SmoothQuant (Xiao et al. 2022, https://arxiv.org/abs/2211.10438) with the extremes of the channels."""
        from nncf.quantization.algorithms.smooth_quant.algorithm import SmoothQuant

        algorithm = SmoothQuant()
        graph, operations = _graph_of(model), _operations(model)
        points = algorithm.get_statistic_points(model, graph)
        for point, collector in _collectors(points):
            output = _output(point, operations)
            known = self._statistics.known(output)
            largest = None
            if known is not None and known.minimum is not None and known.maximum is not None:
                largest = _tensor(np.maximum(np.abs(known.minimum), np.abs(known.maximum)))
            rank = output.get_partial_shape().rank
            shape = np.ones(rank.get_length() if rank.is_static else 1, dtype=np.int64)
            collector.set_cache({"abs_max": largest, "shape": _tensor(shape, np.int64)})
        smoothed = algorithm.apply(model, graph, points)
        return smoothed, sum(op.get_friendly_name().endswith(SMOOTHED) for op in smoothed.get_ops())

    def _corrected(self, model: Any, graph: Any, operations: Mapping[str, Any], quantized: Any) -> tuple[Any, int]:
        """Apply NNCF's fast bias correction with quantkit's means; layers with unknown means are not changed.

        Depthwise convolutions are corrected, too, and shifts of any size are applied: NNCF's rules against both guard
        against an error that ``_output_mean`` does not have.
        """
        from nncf.common.graph.transformations.commands import TargetType
        from nncf.common.tensor_statistics.statistics import MeanTensorStatistic

        layers: set[str] = set()
        algorithm = _bias_correction(layers)
        points = algorithm.get_statistic_points(model, graph)
        shapes = self._statistics.static_shapes(model)
        outputs: dict[str, npt.NDArray[np.float64]] = {}
        cached = list(_collectors(points))
        for point, collector in cached:
            if point.type != TargetType.PRE_LAYER_OPERATION:
                continue
            source = _output(point, operations)
            known = self._statistics.known(source)
            shape = shapes.get((source.get_node().get_friendly_name(), source.get_index()))
            if known is None or known.mean is None or shape is None:
                continue
            node = graph.get_node_by_name(point.target_node_name)
            axis = algorithm._backend_entity.get_activation_channel_axis(node, point.port_id, shape)
            if shape[axis] != known.mean.size:
                continue
            collector.set_cache(MeanTensorStatistic(_tensor(known.mean), _tensor(shape, np.int64)))
            outputs[node.node_name] = self._output_mean(
                algorithm._backend_entity, node, point.port_id, shape, axis, known.mean
            )
        for point, collector in cached:
            if point.type != TargetType.PRE_LAYER_OPERATION and point.target_node_name in outputs:
                mean = outputs[point.target_node_name]
                collector.set_cache(MeanTensorStatistic(_tensor(mean), _tensor(mean.shape, np.int64)))
        layers.update(outputs)
        if not outputs:
            return quantized, 0
        return algorithm.apply(quantized, _graph_of(quantized), points), len(outputs)

    @staticmethod
    def _output_mean(
        backend: Any, node: Any, port: int, shape: tuple[int, ...], axis: int, mean: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Return the mean outputs of a layer, in floating point and without bias, for an input of its mean everywhere.

        NNCF uses the mean of real outputs instead. That differs from the quantized layer's output for the mean not only
        by the effect of quantizing the weights, but also by the effect of borders, which would then go into the bias.
        """
        layer = backend.extract_submodel(None, (node.node_name, port), (node.node_name, 0))
        name, _ = backend.get_sub_input_output_names(layer)
        blob = backend.create_input_data(shape, list(_tensor(mean)), name, axis)
        compiled = library.core().compile_model(layer, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        output = np.asarray(compiled(blob)[0], dtype=np.float64)
        channel = node.metatype.output_channel_axis % output.ndim
        means: npt.NDArray[np.float64] = output.mean(axis=tuple(i for i in range(output.ndim) if i != channel))
        return means


def _weight_statistic(node: Any, point: Any, config: Any, operations: Mapping[str, Any]) -> Any:
    from nncf.common.tensor_statistics.statistics import MinMaxTensorStatistic
    from nncf.openvino.graph.node_utils import get_const_value_as_numpy_tensor, get_weight_channel_axes

    constant = operations[node.layer_attributes.constant_attributes[point.port_id]["name"]]
    values = get_const_value_as_numpy_tensor(constant)
    kept = {axis % values.ndim for axis in get_weight_channel_axes(node)} if config.per_channel else set()
    axes = tuple(axis for axis in range(values.ndim) if axis not in kept)
    amax = np.maximum(np.abs(values).max(axis=axes, keepdims=True), SMALLEST_SCALE * LEVELS)
    return MinMaxTensorStatistic(_tensor(-amax), _tensor(amax))


def _bias_correction(layers: set[str]) -> Any:
    """Return a fast bias correction of every layer with a bias; once ``layers`` has names, of only these layers."""
    from nncf.openvino.graph.metatypes.groups import OPERATIONS_WITH_BIAS
    from nncf.openvino.graph.node_utils import is_node_with_bias
    from nncf.quantization.algorithms.fast_bias_correction.algorithm import FastBiasCorrection

    def chosen(node: Any, graph: Any) -> bool:
        return (not layers or node.node_name in layers) and is_node_with_bias(node, graph, OPERATIONS_WITH_BIAS)

    class EveryLayer(FastBiasCorrection):  # type: ignore[misc]
        def _set_backend_entity(self, model: Any) -> None:
            super()._set_backend_entity(model)
            self._backend_entity.is_node_with_bias = chosen

        @staticmethod
        def _get_bias_shift_magnitude(current_bias_value: Any, updated_bias_value: Any) -> float:
            return 0.0 if np.isfinite(updated_bias_value.data).all() else np.inf

    return EveryLayer()


def _graph_of(model: Any) -> Any:
    from nncf.openvino.graph.nncf_graph_builder import GraphConverter

    return GraphConverter.create_nncf_graph(model)


def _operations(model: Any) -> dict[str, Any]:
    return {op.get_friendly_name(): op for op in model.get_ops()}


def _collectors(points: Any) -> Iterator[tuple[Any, Any]]:
    for _, point, collector in points.get_tensor_collectors():
        yield point.target_point, collector


def _output(point: Any, operations: Mapping[str, Any]) -> Any:
    """Return the ``openvino.Output`` that a target point refers to."""
    from nncf.common.graph.transformations.commands import TargetType

    operation = operations[point.target_node_name]
    if point.type == TargetType.PRE_LAYER_OPERATION:
        return operation.input_value(point.port_id)
    return operation.output(point.port_id)


def _label(output: Any) -> str:
    return str(min(output.get_names(), default=output.get_node().get_friendly_name()))


def _tensor(values: Any, dtype: Any = np.float32) -> Any:
    from nncf.tensor import Tensor

    return Tensor(np.asarray(values, dtype=dtype))


def union(ranges: Sequence[TensorRange], symmetric: bool) -> tuple[float, float]:
    """Return the bounds of all the tensors together: [-amax, amax] or [0, amax] if symmetric, else [low, high]."""
    if symmetric:
        amax = max(r.amax for r in ranges)
        return (-amax if any(r.low < 0 for r in ranges) else 0.0), amax
    return min(r.low for r in ranges), max(r.high for r in ranges)
