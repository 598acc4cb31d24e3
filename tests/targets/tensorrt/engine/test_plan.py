"""How an engine is to be built, by precision, mode and TensorRT's version."""

from __future__ import annotations

from itertools import product

import pytest

from quantkit.core.errors import BadInput, TargetRefuses
from quantkit.core.releases import release_of
from quantkit.targets.tensorrt.engine.plan import Mode, Plan, plan_for

WEAK = [(8, 6), (9, 3), (10, 0), (10, 16)]
STRONG = [(11, 0), (11, 4)]


@pytest.mark.parametrize("release", WEAK)
def test_auto_is_explicit_before_11(release: tuple[int, int]) -> None:
    assert plan_for("int8", "auto", release) == Plan("int8", "explicit", "qdq", half=True, int8=True)
    assert plan_for("fp16", "auto", release) == Plan("fp16", "", "model", half=True)


@pytest.mark.parametrize("release", STRONG)
def test_auto_is_strong_from_11(release: tuple[int, int]) -> None:
    assert plan_for("int8", "auto", release) == Plan("int8", "strong", "strongly_typed", strong=True)
    assert plan_for("fp16", "auto", release) == Plan("fp16", "strong", "fp16", strong=True)


@pytest.mark.parametrize("release", [*WEAK, *STRONG])
def test_fp32_is_the_model_itself_and_tf32_is_off_unless_asked_for(release: tuple[int, int]) -> None:
    for precision in ("fp32", "tf32"):
        plan = plan_for(precision, "auto", release)
        assert (plan.source, plan.tf32, plan.folder) == ("model", precision == "tf32", precision)
        assert not (plan.half or plan.int8 or plan.ranges)


def test_implicit_takes_the_model_with_ranges() -> None:
    plan = plan_for("int8", "implicit", (8, 6))
    assert plan == Plan("int8", "implicit", "model", half=True, int8=True, ranges=True)
    assert plan.folder == "int8-implicit"


def test_ten_can_do_all_three() -> None:
    modes: tuple[Mode, ...] = ("implicit", "explicit", "strong")
    assert [plan_for("int8", mode, (10, 16)).folder for mode in modes] == [f"int8-{mode}" for mode in modes]


@pytest.mark.parametrize("release", [(8, 6), (9, 3)])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_no_strong_network_before_10(precision: str, release: tuple[int, int]) -> None:
    with pytest.raises(TargetRefuses) as refusal:
        plan_for(precision, "strong", release)
    assert refusal.value.what == f"TensorRT {release[0]}.{release[1]} has no strongly typed networks."
    assert refusal.value.hint == "Use the mode explicit, or TensorRT 10 or 11."


@pytest.mark.parametrize("mode", ["implicit", "explicit"])
def test_nothing_but_strong_networks_from_11(mode: Mode) -> None:
    with pytest.raises(TargetRefuses) as refusal:
        plan_for("int8", mode, (11, 4))
    assert refusal.value.what == f"TensorRT 11.4 builds strongly typed networks only; {mode} INT8 was removed."
    assert refusal.value.hint == "Use the mode strong, or TensorRT 8.6 to 10."


@pytest.mark.parametrize("release", [(8, 6), (11, 4)])
def test_a_precision_that_engines_have_not(release: tuple[int, int]) -> None:
    with pytest.raises(BadInput) as refusal:
        plan_for("int4", "auto", release)
    assert refusal.value.what == "There is no TensorRT engine of precision 'int4'."
    assert refusal.value.hint == "Use fp32, tf32, fp16 or int8."


def test_builder_flags_and_ranges_are_never_asked_of_a_strong_network() -> None:
    """TensorRT refuses FP16 and INT8 flags there."""
    precisions, releases = ("fp32", "tf32", "fp16", "int8"), [(10, 0), (10, 16), *STRONG]
    for precision, release in product(precisions, releases):
        plan = plan_for(precision, "strong", release)
        assert not (plan.half or plan.int8 or plan.ranges)


def test_every_plan_of_a_release_has_a_folder_of_its_own() -> None:
    modes: tuple[Mode, ...] = ("implicit", "explicit", "strong")
    plans = {plan_for(precision, mode, (10, 16)) for precision in ("fp32", "tf32", "fp16", "int8") for mode in modes}
    # An FP32 engine is the same in every mode; FP16 is another only where the network is strongly typed.
    assert {plan.folder for plan in plans} == {
        *("fp32", "tf32", "fp16", "fp16-strong"),
        *("int8-implicit", "int8-explicit", "int8-strong"),
    }
    assert len(plans) == 7


@pytest.mark.parametrize(
    ("text", "release"),
    [("8.6.0", (8, 6)), ("8.6.1.6", (8, 6)), ("10.16.1.11", (10, 16)), ("11.4.0.106", (11, 4)), ("11", (11, 0))],
)
def test_versions(text: str, release: tuple[int, int]) -> None:
    assert release_of(text) == release
