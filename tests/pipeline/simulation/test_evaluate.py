"""Cases on all samples: in any grouping, in order, and again from the same data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from quantkit.core.errors import NothingEvaluated
from quantkit.datasets import Batch, Stream, open_dataset
from quantkit.pipeline.simulation import evaluate
from quantkit.pipeline.simulation.evaluate import Case, evaluate_cases, noise_of
from quantkit.pipeline.simulation.simulation import Simulation, Variant
from tests.conftest import tiny_model
from tests.pipeline.simulation.builders import MODELS, Made, made


def stream_of(own: Made, folder: Path) -> Stream:
    np.savez(folder / "samples.npz", **own.samples)
    opened = open_dataset(folder / "samples.npz", own.model.inputs, own.recipe.preprocess)  # type: ignore[arg-type]
    return Stream(opened.dataset, [int(i) for i in opened.indices], own.model.batch_axes)


def cases(simulation: Simulation) -> list[Case]:
    numbers = range(len(simulation.units))
    return [Case(True), *(Case(q, Variant(frozenset({n}))) for q in (False, True) for n in numbers)]


def test_grouping_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = made("tiny", "onnxruntime", tmp_path)
    simulation = own.simulation()
    found = noise_of(simulation, cases(simulation), stream_of(own, tmp_path), own.model)
    monkeypatch.setattr(evaluate, "BYTES_AT_ONCE", 1)
    one_by_one = noise_of(simulation, cases(simulation), stream_of(own, tmp_path), own.model)
    np.testing.assert_allclose([o["logits"] for o in found], [o["logits"] for o in one_by_one], rtol=0.05)


def test_the_noise_of_everything_is_that_of_the_qdq_model(tmp_path: Path) -> None:
    own = made("tiny", "onnxruntime", tmp_path)
    simulation = own.simulation()
    (found,) = noise_of(simulation, [Case(True)], stream_of(own, tmp_path), own.model)
    floating = simulation.baseline(own.samples, quantized=False).outputs["logits"].astype(np.float64)
    quantized = simulation.baseline(own.samples, quantized=True).outputs["logits"]
    assert found["logits"] == pytest.approx(((floating - quantized) ** 2).sum() / (floating**2).sum(), rel=1e-3)


def test_each_case_takes_all_samples_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "MOST_AT_ONCE", 5)  # of 12, so that the last batch is filled up
    own = made("tiny", "onnxruntime", tmp_path)
    simulation = own.simulation()
    seen: dict[int, list[int]] = {}

    def take(number: int, expected: dict, found: dict, batch: Batch) -> None:
        assert len(expected["logits"]) == len(found["logits"]) == len(batch.indices)
        seen.setdefault(number, []).extend(batch.indices)

    count = evaluate_cases(simulation, cases(simulation), stream_of(own, tmp_path), own.model, take)
    assert count == 12
    assert all(indices == list(range(12)) for indices in seen.values())
    assert len(seen) == 1 + 2 * len(simulation.units)


def test_a_model_that_mixes_the_samples_of_a_batch_runs_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its batch is declared dynamic, but the mean over the batch comes into every sample's scores."""

    def mixing() -> onnx.ModelProto:
        model = tiny_model()
        model.graph.node[-1].output[0] = "own"
        model.graph.node.append(onnx.helper.make_node("ReduceMean", ["own"], ["mean"], name="mean", axes=[0]))
        model.graph.node.append(onnx.helper.make_node("Add", ["own", "mean"], ["logits"], name="sum"))
        return model

    monkeypatch.setitem(MODELS, "mixing", mixing)
    own = made("mixing", "onnxruntime", tmp_path)
    simulation = own.simulation()
    sizes = set()

    def take(number: int, expected: dict, found: dict, batch: Batch) -> None:
        sizes.add(len(batch.indices))

    evaluate_cases(simulation, [Case(True)], stream_of(own, tmp_path), own.model, take)
    assert sizes == {1}


def test_no_readable_sample_is_an_error(tmp_path: Path) -> None:
    own = made("tiny", "onnxruntime", tmp_path)
    stream = stream_of(own, tmp_path)
    stream.indices = []
    with pytest.raises(NothingEvaluated, match="No sample of"):
        noise_of(own.simulation(), [Case(True)], stream, own.model)
