"""Leaves layers in floating point: those that lose most for the time that INT8 saves there, and those INT8 slows down.

What a layer loses is simulated, what it costs is estimated, and what a choice really gives is measured on the target
before it is taken. Where a lone floating-point layer costs conversions, as on TensorRT, layers are left in floating
point by families: all of one operator and shape, such as one projection of every block of a transformer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from quantkit.core.progress import Progress
from quantkit.datasets import Stream
from quantkit.graph.graph import Graph, operand
from quantkit.graph.model_file import ModelFile
from quantkit.pipeline.simulation.evaluate import Case, noise_of
from quantkit.pipeline.simulation.simulation import Simulation, Variant
from quantkit.pipeline.tuning.ranges import worst

LEAST_MS = 1e-3  # layers that cost less count as if they cost this much


@dataclass(frozen=True)
class Part:
    """Some layers that are left in floating point together.

    Attributes:
        title: What they are, in words.
        names: The names of their nodes.
        gain: The share of the output's noise that goes away with them alone.
        cost: How many ms more they take in floating point, as estimated; negative if INT8 is slower.
    """

    title: str
    names: tuple[str, ...]
    gain: float
    cost: float

    @property
    def worth(self) -> float:
        """The gain for each ms; more than any other's for parts that INT8 slows down."""
        return self.gain / self.cost if self.cost > LEAST_MS else self.gain / LEAST_MS + max(-self.cost, 0.0)


def parts_of(
    simulation: Simulation,
    costs: Sequence[float],
    families: bool,
    graph: onnx.GraphProto,
    stream: Stream,
    model: ModelFile,
    progress: Progress,
) -> list[Part]:
    """Return what may be left in floating point, the most worthwhile first.

    Args:
        simulation: The recipe, simulated.
        costs: The extra ms of each unit.
        families: True to leave only whole families out.
        graph: The floating-point model.
        stream: The samples to simulate with.
        model: The user's model.
        progress: Displays the progress.

    Returns:
        The parts, without those that gain nothing and cost something.
    """
    groups = _families(simulation, graph) if families else _singles(simulation, graph)
    cases = [Case(True), *(Case(True, Variant(frozenset(numbers))) for _, numbers in groups)]
    whole, *each = (worst(noise) for noise in noise_of(simulation, cases, stream, model, progress))
    found = [
        Part(
            title,
            tuple(simulation.units[n].name for n in numbers),
            (whole - left) / whole if whole else 0.0,
            sum(costs[n] for n in numbers),
        )
        for (title, numbers), left in zip(groups, each, strict=True)
    ]
    kept = [part for part in found if part.gain > 0 or part.cost < 0]
    return sorted(kept, key=lambda part: -part.worth)


def _singles(simulation: Simulation, graph: onnx.GraphProto) -> list[tuple[str, list[int]]]:
    """Return every unit, and those that read one rounded tensor together, which is not rounded without them."""
    numbers = {unit.name: number for number, unit in enumerate(simulation.units)}
    view = Graph(graph)
    groups = [(unit.name, [number]) for number, unit in enumerate(simulation.units)]
    for name in simulation.grids:
        readers = sorted({numbers[node.name] for node, _ in view.consumers(name) if node.name in numbers})
        if len(readers) > 1:
            groups.append((f"all that reads {name}", readers))
    return groups


def _families(simulation: Simulation, graph: onnx.GraphProto) -> list[tuple[str, list[int]]]:
    """Return units of one operator and one shape of weight together."""
    view = Graph(graph)
    nodes = {node.name: node for node in view.nodes}
    found: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for number, unit in enumerate(simulation.units):
        weight = view.initializers.get(operand(nodes[unit.name], 1))
        found.setdefault((unit.kind, () if weight is None else tuple(weight.dims)), []).append(number)
    return [(_title(kind, shape, len(numbers)), numbers) for (kind, shape), numbers in found.items()]


def _title(kind: str, shape: tuple[int, ...], count: int) -> str:
    of = f" of {'x'.join(map(str, shape))}" if shape else ""
    return f"{count} {kind}{'s' if count > 1 else ''}{of}"
