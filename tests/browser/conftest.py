"""One Chromium for all these tests, and the reports that they open in it.

Every page that a test opens is watched: whatever it says on the console, every error of its script and every request
but the one for the file itself fails the test.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantkit.core.comparison import GpuLoad, Interval, Latency, LayerError, LayerTime, Row
from quantkit.core.predictions import Predictions
from quantkit.measure.paired import change
from quantkit.reports.html import html_report
from quantkit.tasks.detection.task import Detection
from tests.reports.builders import HOSTILE, calibration, comparison, gated, reference_row, row
from tests.reports.test_culprits import layer, sensitivity
from tests.reports.test_tuning import tuning

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
LAYERS = 100
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
GRAVE = ("serious", "critical")
Visit = Callable[..., Any]


def violations(page: Any) -> list[str]:
    """What axe-core finds grave in a page."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """Debian's Chromium; without it the tests are skipped, but not where QUANTKIT_NEEDS_BROWSER says that CI runs."""
    needed = os.environ.get("QUANTKIT_NEEDS_BROWSER")
    if CHROMIUM is None:
        (pytest.fail if needed else pytest.skip)("there is no Chromium; install one with: apt-get install chromium")
    if not needed:
        pytest.importorskip("playwright")
        pytest.importorskip("axe_playwright_python")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        yield started
        started.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    """Open a file in a page without network; at the end of the test the page must have had nothing to complain of."""
    problems: list[str] = []
    contexts = []

    def open_page(report: Path, fragment: str = "", **settings: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | settings)
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: problems.extend(_foreign(request.url, report)))
        page.goto(report.as_uri() + fragment)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def _foreign(url: str, report: Path) -> list[str]:
    own = url.startswith("data:") or url.partition("#")[0] == report.as_uri()
    return [] if own else [f"request: {url}"]


@pytest.fixture(scope="package")
def real(demo: Path) -> Path:
    """The report of the demo, truly calibrated and compared."""
    return demo / "run" / "report.html"


@pytest.fixture(scope="package")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that a report can show: three targets, a GPU, layers, culprits, gates, warnings, a dead tensor."""
    layers = (
        LayerTime(name="conv1", precision="int8", ms=0.2, kernel="brgconv_avx512_I8", meant="int8"),
        LayerTime(name="head", precision="f32", ms=0.1, meant="int8", reason="no FakeQuantize on its input"),
    )
    gpu = GpuLoad(memory_bytes=300 << 20, sm_clock_mhz=1980, power_w=210.0)
    fast = Latency(p10=0.4, p50=0.41, p90=0.44, p99=0.6)
    on_gpu = dict.fromkeys(("latency_ms", "latency_with_copies_ms", "latency_graph_ms"), fast)
    compared = comparison(
        reference_row(),
        row("fp16", 0.904),
        row("int8", 0.9, layers=layers, notes=("7-bit weights",)),
        reference_row(target="onnxruntime"),
        row("int8", 0.87, target="onnxruntime", sqnr_db=None),
        row("fp32", 0.905, target="tensorrt", device="cuda:0", agreement=1.0, sqnr_db=None, gpu=gpu),
        row("int8", 0.91, target="tensorrt", device="cuda:0", gpu=gpu, **on_gpu),
        warnings=("A few images were copies.",),
    )
    gate = gated({"metric": "drop.top1", "max": 0.01}, {"metric": "speedup", "min": 2.0, "level": "warn"}, of=compared)
    path = tmp_path_factory.mktemp("rich") / "report.html"
    own = calibration([f"conv{i}" for i in range(12)], ["dead1"])
    culprits = sensitivity(layer("conv7", 12.0), layer("conv1", 30.0, None))
    path.write_text(html_report(own, compared, gate, sensitivity=culprits), "utf-8")
    return path


@pytest.fixture(scope="package")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector, whose FP16 computes in FP32."""

    def detector(precision: str, value: float, **changes: Any) -> Row:
        found = {m.name: Interval(value=value, low=value - 0.03, high=value + 0.03) for m in Detection.metrics}
        band = Interval(value=2.5, low=2.3, high=2.6)
        return row(precision, metrics=found, drop={"map": 0.9 - value}, speedup_interval=band, **changes)

    ran = {"executed_precision": "int8 120, f32 13", "runtime": {"threads": "2", "streams": "1"}}
    slow = Latency(p10=4.9, p50=5.0, p90=6.0, p99=7.0)
    compared = comparison(
        detector("fp32", 0.9, agreement=1.0),
        detector("fp16", 0.899, executed_precision="f32", latency_ms=slow),
        detector(
            "int8", 0.89, variant="mse-robust, qdq", notes=("far " * 60,), changes={"map": change(5, 2, 100)}, **ran
        ),
        metrics=Detection.metrics,
    )
    path = tmp_path_factory.mktemp("folded") / "report.html"
    path.write_text(html_report(None, compared, None), "utf-8")
    return path


@pytest.fixture(scope="package")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layers with the figures of five methods, and their own loss."""
    names = ["conv1", "conv7", "relu1"]
    errors = tuple(LayerError(name=name, tensor=name, kind="Conv", sqnr_db=30.0) for name in names)
    rows = [row("int8", variant=f"method-{i}", layer_errors=errors) for i in range(5)]
    path = tmp_path_factory.mktemp("many") / "report.html"
    culprits = sensitivity(layer("conv7", 12.0), layer("conv1", 30.0, None))
    path.write_text(html_report(calibration(names), comparison(reference_row(), *rows), None, sensitivity=culprits))
    return path


@pytest.fixture(scope="package")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a hundred layers, with names as long as exporters make them."""
    names = [f"/layer{i // 25}/layer{i // 25}.{i % 25}/conv{i % 3}/Conv_output_0" for i in range(LAYERS)]
    path = tmp_path_factory.mktemp("big") / "report.html"
    path.write_text(html_report(calibration(names), comparison(), None), "utf-8")
    return path


@pytest.fixture(scope="package")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Names without end nor a place to break them."""
    name = "without_end_" * 12
    rows = (reference_row(target=name), row(target=name, variant=name, executed_precision=name, notes=(name,)))
    compared = comparison(*rows, model=name, data=name, warnings=(name,))
    gate = gated({"metric": f"metrics.{name}.value", "min": 0.5}, of=compared)
    path = tmp_path_factory.mktemp("long") / "report.html"
    path.write_text(html_report(calibration([name], method=name), compared, gate), "utf-8")
    return path


@pytest.fixture(scope="package")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Markup and scripts in every name that comes from outside."""
    rows = [
        r
        for name in HOSTILE
        for r in (
            reference_row(target=name),
            row(target=name, variant=name, device=name, notes=(name,), executed_precision=name),
        )
    ]
    path = tmp_path_factory.mktemp("hostile") / "report.html"
    answers = Predictions(
        names=HOSTILE,
        classes=(HOSTILE[0], HOSTILE[1], "c"),
        labels=np.zeros(4, np.int32),
        keys=(rows[0].key, rows[1].key),
        kept={"answers": np.array([[0] * 4, [1] * 4], np.int32), "confidences": np.full((2, 4), 0.6, np.float32)},
    )
    compared = comparison(
        *rows, model=HOSTILE[0], data=HOSTILE[1], method=HOSTILE[2], warnings=HOSTILE, predictions=answers
    )
    found = calibration(["conv1", *HOSTILE], method=HOSTILE[1], exclude=HOSTILE)
    tried = tuning(title=f"{HOSTILE[0]} in floating point", notes=HOSTILE)
    path.write_text(html_report(found, compared, None, tuning=tried), "utf-8")
    return path
