"""TensorRT 8.6's own calibrators against ours, on the measuring material that lies beside a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

# CI copies the tests alone for the other Pythons.
check_golden = pytest.importorskip("scripts.check_golden", reason="the scripts are not here")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("check", check_golden.CHECKS, ids=lambda check: f"{check.model}-{check.method}")
def test_thresholds_fall_into_tensorrts_bins(
    shared: Path, tmp_path_factory: pytest.TempPathFactory, check: check_golden.Check
) -> None:
    # One run directory a model: the second method is solved from the same histograms.
    outcome = check_golden.compare(check, shared, tmp_path_factory.getbasetemp() / check.model)
    assert not outcome.missing
    assert outcome.met >= check.bar, [str(mismatch) for mismatch in outcome.mismatches]
