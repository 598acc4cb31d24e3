"""Ranges of the tensors that TensorRT's parser adds, from those of the ONNX model."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quantkit.targets.tensorrt.engine.derived_ranges import ParsedLayer, derived_ranges


def layer(kind: str, inputs: str, outputs: str, operation: str = "") -> ParsedLayer:
    return ParsedLayer(f"{kind} of {inputs}", kind, operation, tuple(inputs.split()), tuple(outputs.split()))


# What TensorRT 8.6 makes of a Gemm with a bias: its caches name these tensors beside the model's own.
GEMM = [
    layer("CONSTANT", "", "weight"),
    layer("CONSTANT", "", "bias"),
    layer("MATRIX_MULTIPLY", "flat weight", "product"),
    layer("SHUFFLE", "bias", "bias_row"),
    layer("ELEMENTWISE", "product bias_row", "logits", "SUM"),
]


def test_a_gemm_as_the_parser_makes_it() -> None:
    found = derived_ranges(GEMM, {"flat": 4.0, "logits": 10.0}, {"weight": 0.5, "bias": 0.25})
    assert found == {
        "flat": 4.0,
        "weight": 0.5,
        "bias": 0.25,
        "bias_row": 0.25,
        "product": 10.25,  # what the sum is at most, with the bias taken off again
        "logits": 10.0,
    }


def test_a_flatten_before_it_and_an_identity_behind_it() -> None:
    layers = [
        layer("SHUFFLE", "pool", "flat"),
        *GEMM,
        layer("IDENTITY", "logits", "scores"),
        layer("SHUFFLE", "scores", "out"),
    ]
    found = derived_ranges(layers, {"pool": 4.0, "out": 10.0}, {"weight": 0.5, "bias": 0.25})
    assert (found["flat"], found["product"], found["logits"], found["scores"]) == (4.0, 10.25, 10.0, 10.0)


def test_layers_that_pass_values_on() -> None:
    layers = [
        layer("POOLING", "x", "pooled", "MAX"),
        layer("ACTIVATION", "pooled", "relu", "RELU"),
        layer("SLICE", "relu", "part"),
        layer("RESIZE", "part", "larger"),
    ]
    assert set(derived_ranges(layers, {"x": 3.0}, {}).values()) == {3.0}
    assert len(derived_ranges(layers, {"x": 3.0}, {})) == 5


def test_a_concat_holds_the_largest_of_its_inputs_and_needs_all_of_them() -> None:
    concat = [layer("CONCATENATION", "a b", "joined")]
    assert derived_ranges(concat, {"a": 1.0, "b": 3.0}, {})["joined"] == 3.0
    assert "joined" not in derived_ranges(concat, {"a": 1.0}, {})
    assert derived_ranges(concat, {"joined": 3.0}, {}) == {"joined": 3.0, "a": 3.0, "b": 3.0}


def test_what_is_bounded_needs_no_input() -> None:
    layers = [
        layer("SOFTMAX", "x", "shares"),
        layer("ACTIVATION", "x", "gate", "SIGMOID"),
        layer("ACTIVATION", "x", "state", "TANH"),
    ]
    assert derived_ranges(layers, {}, {}) == {"shares": 1.0, "gate": 1.0, "state": 1.0}


def test_sums_and_products() -> None:
    layers = [
        layer("ELEMENTWISE", "a b", "sum", "SUM"),
        layer("ELEMENTWISE", "a b", "difference", "SUB"),
        layer("ELEMENTWISE", "a b", "product", "PROD"),
        layer("ELEMENTWISE", "a b", "larger", "MAX"),
        layer("ELEMENTWISE", "a b", "quotient", "DIV"),
    ]
    known = {"a": 2.0, "b": 3.0}
    derived = {"sum": 5.0, "difference": 5.0, "product": 6.0, "larger": 3.0}
    assert derived_ranges(layers, known, {}) == known | derived


def test_what_follows_from_nothing_is_left_out() -> None:
    layers = [
        layer("CONVOLUTION", "x", "conv"),
        layer("POOLING", "x", "mean", "AVERAGE"),
        layer("UNARY", "x", "root", "SQRT"),
        layer("MATRIX_MULTIPLY", "x y", "product"),
        layer("SHUFFLE", "conv", "moved"),
        layer("ACTIVATION", "moved", "relu", "RELU"),
    ]
    assert derived_ranges(layers, {"x": 1.0}, {}) == {"x": 1.0}


def test_the_order_of_layers_does_not_matter() -> None:
    layers = [layer("SHUFFLE", f"t{i}", f"t{i + 1}") for i in range(20)]
    for start in ("t0", "t10", "t20"):
        for order in (layers, layers[::-1]):
            assert derived_ranges(order, {start: 2.0}, {}) == {f"t{i}": 2.0 for i in range(21)}


KINDS = ["SHUFFLE", "CONCATENATION", "SELECT", "SOFTMAX", "CONVOLUTION", "SLICE", "CONSTANT"]
OPERATIONS = [("ELEMENTWISE", "SUM"), ("ELEMENTWISE", "PROD"), ("POOLING", "MAX"), ("ACTIVATION", "RELU")]
tensors = st.sampled_from([f"t{i}" for i in range(8)])
amaxes = st.dictionaries(tensors, st.floats(1e-6, 1e6))


@given(
    st.lists(
        st.builds(
            lambda what, inputs, outputs: ParsedLayer("", *what, tuple(inputs), tuple(outputs)),
            st.sampled_from([*((kind, "") for kind in KINDS), *OPERATIONS]),
            st.lists(tensors, max_size=3),
            st.lists(tensors, max_size=2),
        ),
        max_size=8,
    ),
    amaxes,
    amaxes,
)
def test_the_known_ones_never_change_and_every_range_is_positive(
    layers: list[ParsedLayer], known: dict[str, float], constants: dict[str, float]
) -> None:
    found = derived_ranges(layers, known, constants)
    assert {name: found[name] for name in known} == known
    assert all(value > 0 for value in found.values())
