"""``--shape``, and the optimization profiles that come of it."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from quantkit.core.errors import BadInput
from quantkit.graph.model_file import ModelFile, open_model
from quantkit.targets.tensorrt.engine.shapes import Profile, ShapeRange, parse_shape, profiles_for
from tests.graphs.shapes import detector

Shapes = dict[str, list[int | str]]


def model_of(tmp_path: Path, **shapes: list[int | str]) -> ModelFile:
    """A model of these inputs that does nothing with them."""
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in shapes],
        "inputs",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, shape) for name, shape in shapes.items()],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return open_model(path)


def text_of(profiles: list[Profile]) -> list[dict[str, str]]:
    return [{name: str(shapes) for name, shapes in profile.items()} for profile in profiles]


def test_least_best_and_largest() -> None:
    name, shapes = parse_shape("input=1x3x224x224:8x3x224x224:32x3x224x224")
    assert name == "input"
    assert shapes == ShapeRange((1, 3, 224, 224), (8, 3, 224, 224), (32, 3, 224, 224))


def test_one_shape_is_all_three_and_of_two_the_second_is_best() -> None:
    assert parse_shape("x=8x3")[1] == ShapeRange((8, 3), (8, 3), (8, 3))
    assert parse_shape("x=1x3:8x3")[1] == ShapeRange((1, 3), (8, 3), (8, 3))


def test_names_may_hold_the_signs_of_the_syntax() -> None:
    assert parse_shape("a=b:0=1x3:2x3")[0] == "a=b:0"


@pytest.mark.parametrize(
    "text",
    [
        *("", "input", "input=", "=1x3", "1x3x224x224", "x=1x", "x=x1", "x=1,3", "x=1X3", "x=-1x3", "x=1.5x3"),
        *("x=1x3:", "x=:1x3", "x=1:2:3:4", "x=1 x3", "x=1x3\n", "x=NxCxHxW", "x=1x99999999999999999999"),
        "x=3x3" + "x3" * 10 + "!",
    ],
)
def test_what_is_no_shape(text: str) -> None:
    with pytest.raises(BadInput, match="cannot be read") as error:
        parse_shape(text)
    assert "input=1x3x224x224:8x3x224x224:32x3x224x224" in error.value.hint


@pytest.mark.parametrize(
    "text",
    ["x=8x3:1x3:32x3", "x=1x3:32x3:8x3", "x=0x3", "x=2x3:1x3", "x=1x3:1x3x1:2x3", "x=1x3:1x3:1x3x3", "x=1x3:2x3:2"],
)
def test_what_does_not_rise(text: str) -> None:
    with pytest.raises(BadInput, match=r"does not rise .* in as many dimensions of 1 or more"):
        parse_shape(text)


@given(st.text(alphabet="x=:0123456789 -\n٣²input", max_size=40))
@example("x=1x3:1x3:1x3x3")
def test_any_text_is_a_shape_that_rises_or_bad_input(text: str) -> None:
    try:
        name, shapes = parse_shape(text)
    except BadInput:
        return
    assert name
    assert len(shapes.least) == len(shapes.best) == len(shapes.largest)
    assert all(
        0 < low <= best <= high for low, best, high in zip(shapes.least, shapes.best, shapes.largest, strict=True)
    )


sizes = st.integers(1, 10**6)


@given(st.text(min_size=1, max_size=20), st.lists(st.tuples(sizes, sizes, sizes).map(sorted), min_size=1, max_size=6))
def test_what_is_written_is_read(name: str, dimensions: list[list[int]]) -> None:
    least, best, largest = zip(*dimensions, strict=True)
    written = ":".join("x".join(map(str, shape)) for shape in (least, best, largest))
    read = parse_shape(f"{name}={written}")
    assert read == (name, ShapeRange(least, best, largest))
    assert parse_shape(f"x={read[1]}")[1].largest == largest  # the short form, without what repeats


def test_a_dynamic_batch_has_a_profile_for_each_size(tmp_path: Path) -> None:
    model = model_of(tmp_path, x=["N", 3, 8, 8])
    assert text_of(profiles_for(model, [], [1, 8, 1])) == [{"x": "1x3x8x8"}, {"x": "8x3x8x8"}]


def test_a_fixed_batch_has_one_profile_whatever_is_asked(tmp_path: Path) -> None:
    model = model_of(tmp_path, x=[4, 3, 8, 8])
    assert text_of(profiles_for(model, [], [1, 8])) == [{"x": "4x3x8x8"}]


def test_several_inputs_share_the_batch(tmp_path: Path) -> None:
    model = model_of(tmp_path, ids=["N", 16], mask=["N", 16], table=[5, 7])
    assert text_of(profiles_for(model, ["ids=1x16:4x16:8x16"], [1])) == [
        {"ids": "1x16:4x16:8x16", "mask": "1x16:4x16:8x16", "table": "5x7"}
    ]


def test_batches_beyond_the_given_shapes_get_profiles_of_their_own(tmp_path: Path) -> None:
    model = model_of(tmp_path, x=["N", 3, 8, 8])
    assert text_of(profiles_for(model, ["x=2x3x8x8:4x3x8x8:8x3x8x8"], [1, 4, 64])) == [
        {"x": "2x3x8x8:4x3x8x8:8x3x8x8"},
        {"x": "1x3x8x8"},
        {"x": "64x3x8x8"},
    ]


def test_other_dynamic_dimensions_need_a_shape(tmp_path: Path) -> None:
    model = model_of(tmp_path, ids=["N", "length"], mask=["N", "length"])
    with pytest.raises(BadInput, match=r"'ids' has dynamic dimensions beside the batch \(length\)") as error:
        profiles_for(model, [], [1])
    assert "--shape" in error.value.hint
    with pytest.raises(BadInput, match="'mask' has dynamic"):
        profiles_for(model, ["ids=1x16:8x128"], [1])
    both = profiles_for(model, ["ids=1x16:8x128", "mask=1x16:8x128"], [1, 4])
    assert text_of(both) == [{"ids": "1x16:8x128", "mask": "1x16:8x128"}]


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (["y=1x3x8x8"], "no input 'y'"),
        (["x=1x3x8x8", "x=2x3x8x8"], "given twice"),
        (["x=1x3x8"], r"does not fit the input 'x' \(Nx3x8x8\)"),
        (["x=1x1x8x8"], "does not fit"),
        (["x=1x3x8x8:1x3x8x16"], "does not fit"),
    ],
)
def test_shapes_that_do_not_fit_the_model(tmp_path: Path, shapes: list[str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        profiles_for(model_of(tmp_path, x=["N", 3, 8, 8]), shapes, [1])


def test_a_shape_cannot_change_a_fixed_batch(tmp_path: Path) -> None:
    model = model_of(tmp_path, x=[1, 3, 8, 8])
    assert text_of(profiles_for(model, ["x=1x3x8x8"], [1])) == [{"x": "1x3x8x8"}]
    with pytest.raises(BadInput, match="does not fit"):
        profiles_for(model, ["x=1x3x8x8:8x3x8x8"], [1])


def test_batches_lie_along_each_inputs_own_axis(tmp_path: Path) -> None:
    model = model_of(tmp_path, x=["N", 16], state=[2, "N", 8], rate=[])
    assert text_of(profiles_for(model, [], [1, 4])) == [
        {"x": "1x16", "state": "2x1x8", "rate": ""},
        {"x": "4x16", "state": "2x4x8", "rate": ""},
    ]
    (ranged, beyond) = text_of(profiles_for(model, ["state=2x1x8:2x2x8:2x4x8"], [1, 8]))
    assert ranged["x"] == "1x16:2x16:4x16"
    assert (beyond["x"], beyond["state"]) == ("8x16", "2x8x8")


def test_a_model_without_a_batch_axis_has_one_profile(tmp_path: Path) -> None:
    onnx.save(detector(), tmp_path / "m.onnx")
    assert text_of(profiles_for(open_model(tmp_path / "m.onnx"), [], [1, 4])) == [{"x": "3x8x8"}]
    with pytest.raises(BadInput, match="dynamic dimensions"):
        onnx.save(detector("H", "W"), tmp_path / "m.onnx")
        profiles_for(open_model(tmp_path / "m.onnx"), [], [1])
