"""The task "regression": errors against targets of every form."""

from __future__ import annotations

import numpy as np
import pytest

from quantkit.core.errors import BadConfig, BadData
from quantkit.core.preprocess import Preparation
from quantkit.datasets import Dataset, Inputs
from quantkit.graph.model_io import ModelInput
from quantkit.tasks.regression import Regression

A = {"a": np.array([[1.0, 2], [3, 4]]), "b": np.array([[10.0], [20]])}


def errors(output: str | None, *annotations: object) -> tuple[float, float]:
    scorer = Regression(output).scorer()
    scorer.update(A, A, list(annotations))
    found = scorer.result().metrics
    return found["mae"].value, found["rmse"].value


def test_errors_are_means_over_values_and_samples() -> None:
    assert errors("a", [1, 1], [5, 4]) == (0.75, pytest.approx(np.sqrt((0.5 + 2) / 2)))
    assert errors("b", 11, None) == (1, 1)
    assert errors(None, {"b": [12]}, {"a": [3, 4], "b": [20]}) == (1, pytest.approx(np.sqrt(2)))


def test_the_change_of_the_mean_error_is_tested_in_pairs() -> None:
    random = np.random.default_rng(0)
    targets = random.normal(size=50)
    exact = {"y": (targets + 0.01 * random.normal(size=50))[:, None]}
    own = {"y": exact["y"] + 0.5}
    scorer = Regression().scorer()
    scorer.update(own, exact, targets.tolist())
    result = scorer.result()
    assert result.changes["mae"].lost == 50
    assert result.changes["mae"].p_value < 1e-6
    assert "rmse" not in result.changes
    rmse = result.metrics["rmse"]
    assert rmse.low is not None
    assert rmse.high is not None
    assert rmse.low < rmse.value < rmse.high


def test_without_targets_only_fp32_is_compared_with() -> None:
    scorer = Regression().scorer()
    scorer.update(A, A, None)
    assert {*scorer.result().metrics} == {"cosine", "largest_error"}


def test_an_output_that_is_not_finite_is_as_far_off_as_can_be() -> None:
    scorer = Regression().scorer()
    scorer.update({"y": np.array([[np.nan]])}, {"y": np.array([[1.0]])}, [1.0])
    assert scorer.result().metrics["mae"].value == np.finfo(np.float32).max


@pytest.mark.parametrize(
    ("target", "message"),
    [([1, 2, 3], r"has the shape \(3,\)"), ([1, np.nan], "is not finite"), ("high", "The target 'high' is no number")],
)
def test_targets_that_do_not_fit_are_told(target: object, message: str) -> None:
    with pytest.raises(BadData, match=message):
        errors("a", target, None)


class Numbers(Dataset):
    source, names = "numbers", ("one",)
    preprocess = Preparation(name="numbers", description="as they are")
    annotations = (1.0,)

    def load(self, index: int) -> tuple[Inputs, bytes]:
        return {}, b""


def test_a_lone_target_of_several_outputs_needs_a_name() -> None:
    outputs = [ModelInput("a", ("N", 2), "float32"), ModelInput("b", ("N", 1), "float32")]
    with pytest.raises(BadConfig, match="the model has the outputs a, b"):
        Regression().check(outputs, Numbers())
    Regression("b").check(outputs, Numbers())
