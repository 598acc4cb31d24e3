from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantkit.core.ranges import STEPS, TensorRange
from quantkit.targets.openvino.nncf.adapter import union
from tests.targets.openvino.fake_quantize import Limits, limits_of

ends = st.floats(0, 1e4, allow_nan=False, width=32)


@st.composite
def ranges(draw: st.DrawFn) -> TensorRange:
    low, high = -draw(ends), draw(ends)
    return TensorRange.asymmetric(low, high if high - low > 0 else 1.0)


def test_signed_symmetric_has_one_step_more_below() -> None:
    assert limits_of([TensorRange(2.54, -1.0, 2.54)], symmetric=True) == Limits(
        float(np.float32(-2.56)), float(np.float32(2.54))
    )


def test_what_is_never_negative_starts_at_zero() -> None:
    assert limits_of([TensorRange(6.0, 0.0, 6.0)], symmetric=True) == Limits(0.0, 6.0)
    assert limits_of([TensorRange(6.0, 0.0, 6.0)], symmetric=False) == Limits(0.0, 6.0)


def test_tensors_that_share_a_quantizer_share_the_union() -> None:
    together = [TensorRange(1.0, 0.0, 1.0), TensorRange(3.0, -3.0, 2.0)]
    assert union(together, symmetric=True) == (-3.0, 3.0)
    assert union(together, symmetric=False) == (-3.0, 2.0)


@given(ranges())
def test_an_asymmetric_range_gets_a_level_at_zero_and_loses_nothing(given_range: TensorRange) -> None:
    limits = limits_of([given_range], symmetric=False)
    step = (limits.high - limits.low) / STEPS
    zero = -limits.low / step
    if 0.5 <= zero <= STEPS - 0.5:
        assert abs(zero - round(zero)) < 2e-3
    slack = 1e-6 * (limits.high - limits.low)
    assert limits.low <= given_range.low + slack
    assert limits.high >= given_range.high - slack


@pytest.mark.openvino
@settings(deadline=None)  # the first example waits for NNCF
@given(ranges(), st.booleans())
def test_the_rules_are_nncfs(given_range: TensorRange, symmetric: bool) -> None:
    pytest.importorskip("nncf")
    from quantkit.targets.openvino import library

    library.nncf()
    from nncf.common.quantization.structs import QuantizationScheme, QuantizerConfig, QuantizerGroup
    from nncf.common.tensor_statistics.statistics import MinMaxTensorStatistic
    from nncf.quantization.fake_quantize import calculate_quantizer_parameters
    from nncf.tensor import Tensor

    low, high = union([given_range], symmetric)
    mode = QuantizationScheme.SYMMETRIC if symmetric else QuantizationScheme.ASYMMETRIC
    theirs = calculate_quantizer_parameters(
        MinMaxTensorStatistic(Tensor(np.float32([low])), Tensor(np.float32([high]))),
        QuantizerConfig(num_bits=8, mode=mode, per_channel=False),
        QuantizerGroup.ACTIVATIONS,
    )
    ours = limits_of([given_range], symmetric)
    assert theirs.levels == STEPS + 1
    assert float(theirs.input_low.data) == pytest.approx(ours.low, rel=1e-5, abs=1e-6 * (high - low))
    assert float(theirs.input_high.data) == pytest.approx(ours.high, rel=1e-5, abs=1e-6 * (high - low))
