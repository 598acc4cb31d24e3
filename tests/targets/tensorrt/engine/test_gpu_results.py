"""The pages that ``scripts/bench_gpu.py`` and ``scripts/gpu_results.py`` make of what a GPU left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quantkit.core.comparison import COMPARISON_FILE, Environment
from quantkit.pipeline.run_files import save_comparison
from tests.reports.builders import comparison, reference_row, row

SCRIPTS = Path(__file__).resolve().parents[4] / "scripts"
JUNIT = """<testsuites><testsuite tests="3" failures="1" errors="0" skipped="1" time="12.3">
<testcase name="test_one" time="1.0"><properties><property name="p50 ms" value="0.21"/></properties></testcase>
<testcase name="test_two" time="2.0"><failure message="slow"/></testcase>
<testcase name="test_three" time="0"><skipped message="absent"/></testcase></testsuite></testsuites>"""


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """``bench_gpu`` and ``gpu_results``."""
    monkeypatch.syspath_prepend(SCRIPTS)
    # CI copies the tests alone for the other Pythons.
    return tuple(pytest.importorskip(name, reason="the scripts are not here") for name in ("bench_gpu", "gpu_results"))


def timed(p50: float, against_fp32: float) -> dict[str, Any]:
    return {
        "compute": {"p50": p50},
        "graph": {"p50": p50 / 2},
        "sqnr_db": {"fp32": against_fp32},
        "executed_precision": "f16 53",
    }


def test_the_page_states_versions_outcomes_and_figures(
    scripts: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, results = scripts
    packages = {"tensorrt": "8.6.0", "onnxruntime": "1.23.2"}
    here = comparison().environment.model_dump() | {"packages": packages, "gpu": "NVIDIA H200, driver 580.159.04"}
    rows = (
        reference_row(target="tensorrt"),
        row(target="tensorrt", batch=64),
        row(target="onnxruntime", agreement=0.5),
    )
    save_comparison(comparison(*rows, environment=Environment(**here), samples=2000), tmp_path)
    (tmp_path / COMPARISON_FILE).rename(tmp_path / "resnet50.json")
    (tmp_path / "junit.xml").write_text(JUNIT)
    eager = {"batches": {"1": {"as exported": {"p50": 2.4}}}}
    engines = {"fp16": {"1": timed(0.4, 40.0)}, "int8": {"1": timed(0.3, 12.0)}}
    document = {"pytorch": {"environment": {"torch": "2.11"}}, "rows": bench.rows_of("resnet50", eager, engines)}
    (tmp_path / "bench.json").write_text(json.dumps(document))
    engine = {"engine": "INT8, explicit", "p50": {"1": 0.3, "32": 0.9}, "fp16": {"1": 0.4, "32": 1.0}}
    parity = {"environment": here, "level": None, "jobs": 4, "rows": [engine | {"sqnr": 31.26, "built": 41.6}]}
    (tmp_path / "vit.json").write_text(json.dumps(parity))
    out = tmp_path / "page.md"
    command = "gpu_results page.md --comparison resnet50.json --parity vit.json --bench bench.json --suite"
    monkeypatch.setattr("sys.argv", [*command.split(), "junit.xml", "junit.xml"])
    monkeypatch.chdir(tmp_path)
    results.main()
    page = out.read_text(encoding="utf-8")
    for words in (
        *("NVIDIA H200, driver 580.159.04", "tensorrt 8.6.0", "2026-01-02", "2000 images", "torch 2.11"),
        "2 passed, 2 failed, 2 skipped in 12 s (2 parts side by side",
        *("| p50 ms | 0.21 |", "| `test_two` | failure | 2.0 |", "| INT8 | 64 | 90.00 [86.0, 94.0] | 99.00 | 25.3 |"),
        "| resnet50 | 1 | 2.400 | 0.400 | 0.300 | 8.00 | 5.5 met | 0.200 | 0.150 | 16.00 | 1.33 | 1.33 | 40.0 |",
        "| resnet50 | 32 | – |",
        *(
            "4 engines built at a time, optimization level 3",
            "| INT8, explicit | 0.300 (0.75) | 0.900 (0.90) | 31.3 | 42 |",
        ),
    ):
        assert words in page
    assert "50.00" not in page  # onnxruntime's row


def test_a_wrong_fp16_engine_and_a_missing_time_count_for_nothing(scripts: tuple[Any, Any]) -> None:
    bench, _ = scripts
    eager = {"batches": {"1": {"as exported": {"p50": 2.4}, "faster": {"p50": 1.2}}}}
    engines = {"fp16": {"1": timed(0.1, 3.0)}, "int8": {"1": timed(0.3, 12.0), "32": {"error": "was not built"}}}
    one, many = bench.rows_of("resnet50", eager, engines)
    assert (one["pytorch"], one["pytorch_variant"]) == (1.2, "faster")
    for name in ("fp16", "fp16_graph"):
        assert one[name] is one[f"{name}_speedup"] is None
    assert one["int8_over_fp16"] is one["int8_over_fp16_graph"] is None
    assert one["int8_speedup"] == pytest.approx(4)
    assert one["bar_met"] == "met as a graph"
    assert many["int8"] is many["int8_speedup"] is None
    assert "bar" not in many


@pytest.mark.parametrize(
    ("speedup", "of_graph", "said"),
    [
        (4.0, None, "met"),
        (3.9, 4.0, "met as a graph"),
        (3.9, 3.9, "missed"),
        (3.9, None, "missed"),
        (None, None, "not"),
    ],
)
def test_a_bar_that_only_a_graph_meets_is_said_to(
    scripts: tuple[Any, Any], speedup: float | None, of_graph: float | None, said: str
) -> None:
    bench, _ = scripts
    assert bench.verdict(4.0, speedup, of_graph).removesuffix(" measured") == said
