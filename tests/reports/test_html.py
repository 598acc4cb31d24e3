"""The HTML report: complete, offline, and safe with hostile names."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from quantkit.calibrators import calibrators
from quantkit.core.calibration import DataRef, ModelRef
from quantkit.core.comparison import GpuLoad, Latency, LayerTime
from quantkit.core.ranges import TensorRange
from quantkit.core.statistics.collected import Collected
from quantkit.measure.paired import change
from quantkit.pipeline.comparison.fallbacks import fallback_warnings
from quantkit.reports.content.layer_times import fallbacks_of
from quantkit.reports.content.tensors import (
    BARS,
    STYLES,
    clipped_share,
    method_styles,
    tensor_entries,
)
from quantkit.reports.html import html_report
from quantkit.reports.page import script_json
from tests.reports.builders import HOSTILE, Page, calibration, comparison, gated, histogram, page, reference_row, row


def test_verdict_comes_first_then_picture_table_tensors_and_origin() -> None:
    shown = page(calibration(), comparison(), gated({"metric": "drop.top1", "max": 0.01}))
    order = ["Ship", "The gate", "Accuracy against latency", "All measurements", "Tensors", "How it was made"]
    order[1] = "the gate rule is met"
    positions = [shown.words.index(text) for text in order]
    assert positions == sorted(positions)
    assert "INT8 on openvino keeps 90.0 % top-1" in shown.words
    assert "Top-1 lost ≤ 1.00 points openvino int8 0.50 points 0.50 points pass" in shown.words


@pytest.mark.parametrize(
    ("rule", "headline"),
    [
        ({"metric": "drop.top1", "max": 0.01}, "Ship"),
        ({"metric": "drop.top1", "max": 0.001}, "Do not ship"),
        ({"metric": "top5", "min": 0.9}, "Nothing evaluated"),
    ],
)
def test_verdict_is_the_heading_and_the_title(rule: dict[str, object], headline: str) -> None:
    source = html_report(calibration(), comparison(), gated(rule))
    assert f'<h1 id="verdict">{headline}</h1>' in source
    assert f"<title>{headline}: net.onnx" in source


def test_every_row_and_tensor_is_there() -> None:
    rows = [reference_row(), row("fp16"), row(notes=("7-bit weights",)), row(target="onnxruntime")]
    shown = page(calibration([f"tensor{i}" for i in range(20)]), comparison(*rows))
    assert shown.count("tbody", **{"class": "reference"}) == 1
    assert "7-bit weights" in shown.text
    assert shown.count("details", **{"class": "tensor"}) == 20
    assert all(f"tensor{i}" in shown.text for i in range(20))
    assert len(json.loads(shown.scripts[0])["charts"]) == 20


def test_without_comparison() -> None:
    shown = page(calibration())
    assert "Calibrated, not compared yet" in shown.words
    assert "All measurements" not in shown.text
    assert shown.count("details", **{"class": "tensor"}) == 2


def test_without_calibration() -> None:
    shown = page(None, comparison())
    assert "All measurements" in shown.text
    assert shown.count("details", **{"class": "tensor"}) == 0
    assert "models/net.onnx" in shown.text


def test_with_nothing_at_all() -> None:
    assert "Calibrated, not compared yet" in page().words


def test_unlabelled_comparison_has_no_accuracy_columns() -> None:
    shown = page(calibration(), comparison(reference_row(None), row(top1=None)))
    assert "Agreement against latency" in shown.words
    assert "Top-1 %" not in shown.text
    assert "200 samples, none labelled" in shown.words


def test_a_cuda_graph_is_spoken_of_where_one_was_timed() -> None:
    gpu = GpuLoad(memory_bytes=300 << 20)
    graph = Latency(p10=0.1, p50=0.1234, p90=0.2, p99=0.3)
    for timed in (graph, None):
        on_gpu = row(target="tensorrt", device="cuda:0", gpu=gpu, latency_graph_ms=timed)
        shown = page(None, comparison(reference_row(target="tensorrt", device="cuda:0", gpu=gpu), on_gpu))
        assert "by CUDA events" in shown.words
        heads = [found["title"] for tag, found in shown.elements if tag == "th" and "title" in found]
        told = any("launched as one CUDA graph" in (head or "") for head in heads)
        assert ("as a CUDA graph all" in shown.words) == told == (timed is not None)
        assert ("0.12" in shown.text) == (timed is not None)


@pytest.mark.parametrize(("sqnr", "text"), [(None, "∞"), (-300.0, "not finite"), (25.34, "25.3")])
def test_sqnr_of_every_kind(sqnr: float | None, text: str) -> None:
    shown = page(None, comparison(reference_row(), row(sqnr_db=sqnr)), gated({"metric": "sqnr_db", "min": 20}))
    assert text in shown.text


def test_dead_tensor_is_flagged_and_has_no_chart() -> None:
    shown = page(calibration(["alive"], dead=["dead-one"]))
    assert shown.count("span", **{"class": "flag"}) == 1
    assert "Every value was zero" in shown.words
    charts = json.loads(shown.scripts[0])["charts"]
    assert charts[0] is not None
    assert charts[1] is None


def test_tensor_without_histogram() -> None:
    shown = page(calibration(collected=Collected({}, {}, {})))
    assert "There is no histogram of this tensor." in shown.words


def test_origin_names_model_data_and_environment() -> None:
    skipped = DataRef(path="data/calibration", sha256="feed" * 16, skipped={"broken.jpg": "cannot be decoded"})
    shown = page(calibration(data=skipped, exclude=("head*",)), comparison(warnings=("near chance",)))
    for text in ("models/net.onnx", "feed" * 16, "broken.jpg", "cannot be decoded", "RGB, bilinear resize", "head*"):
        assert text in shown.text
    assert "1 warning came up on the way: read it" in shown.words
    assert "near chance" in shown.text
    assert "Some CPU, 8 cores" in shown.words


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_everywhere(name: str) -> None:
    third_party = {name: TensorRange(1.0, -1.0, 1.0)}
    tensors = {
        name: calibration([name]).tensors[name].model_copy(update={"candidates": third_party, "method": name}),
    }
    calibrated = calibration(
        [name],
        model=ModelRef(path=name, sha256=name),
        data=DataRef(path=name, sha256=name, skipped={name: name}),
        versions={name: name},
        method=name,
        exclude=(name,),
        warnings=(name,),
    ).model_copy(update={"tensors": tensors})
    calibrated = calibrated.model_copy(update={"collected": calibration([name]).collected})
    texts = {"target": name, "device": name, "variant": name, "executed_precision": name, "notes": (name,)}
    compared = comparison(
        reference_row(**texts), row(**texts), row(name, **texts), model=name, data=name, method=name, warnings=(name,)
    )
    gate = gated({"metric": name, "min": 1, "target": name}, {"metric": "drop.top1", "max": 0.0}, of=compared)
    source = html_report(calibrated, compared, gate)
    shown = Page(source)
    assert shown.count("script") == 2
    assert shown.count("img") == 0
    assert not any(attribute.startswith("on") for _, found in shown.elements for attribute in found)
    assert "<script>alert" not in source
    assert "<img src" not in source
    assert not any(c in shown.scripts[0] for c in "<>&\u2028\u2029")
    assert json.loads(shown.scripts[0])["charts"][0]["lines"][0][1] == name
    assert " ".join(name.split()) in shown.words


def test_asks_nothing_of_the_network() -> None:
    source = html_report(calibration(), comparison(), None)
    shown = Page(source)
    assert not re.search(r"""(?:src|href|action|srcset|poster)\s*=\s*["']?\s*(?:https?:)?//""", source)
    assert not re.search(r"url\(\s*['\"]?(?!#)", source)
    assert "@import" not in source
    policy = next(found["content"] or "" for tag, found in shown.elements if "http-equiv" in found)
    assert policy.startswith("default-src 'none'")
    assert "'sha256-" in policy
    assert "'unsafe-inline'" not in policy.partition("script-src")[2]


def test_150_tensors_fit_in_two_megabytes() -> None:
    names = [f"/features/features.{i}/conv/conv.{i}/block/Conv_output_0" for i in range(150)]
    assert len(html_report(calibration(names), comparison(), None).encode()) < 2_000_000


def test_script_json_leaves_no_way_out() -> None:
    text = script_json(["</script>", "<!--", "&amp;", "\u2028\u2029"])
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == ["</script>", "<!--", "&amp;", "\u2028\u2029"]


def test_charts_keep_every_value_in_few_bars() -> None:
    calibrated = calibration(["x"])
    chart = tensor_entries(calibrated)[0].chart
    assert chart is not None
    assert len(chart["counts"]) <= BARS
    assert sum(chart["counts"]) == calibrated.histograms["x"].total
    assert [line[1] for line in chart["lines"] if line[3]] == ["entropy"]
    assert {line[1] for line in chart["lines"]} == {"minmax", "percentile", "entropy", "mse"}


def test_clipped_share_is_that_of_the_values() -> None:
    values = np.random.default_rng(3).standard_normal(100_000)
    counted = histogram(values)
    low, high = counted.minimum, counted.maximum
    assert clipped_share(counted, TensorRange.asymmetric(low, high)) == 0
    both = clipped_share(counted, TensorRange.symmetric(2.0, low, high))
    assert both == pytest.approx((np.abs(values) > 2).mean(), abs=2e-4)
    upper = clipped_share(counted, TensorRange.asymmetric(low, 1.0))
    assert upper == pytest.approx((values > 1).mean(), abs=2e-4)
    assert clipped_share(None, TensorRange.asymmetric(low, high)) is None


def test_a_method_keeps_its_line_style_and_third_parties_get_their_own() -> None:
    calibrated = calibration(["x"])
    tensor = calibrated.tensors["x"].model_copy(update={"method": "mine", "amax": 1.5})
    candidates = dict.fromkeys([*calibrators(), "mine"], tensor.range)
    tensor = tensor.model_copy(update={"candidates": candidates})
    styles = method_styles(calibrated.model_copy(update={"tensors": {"x": tensor}}))
    assert list(styles) == [*calibrators(), "mine"]
    assert list(styles.values()) == list(range(len(calibrators()) + 1))
    shown = html_report(calibrated, None, None)
    assert all(f".m{style} {{" in shown for style in range(STYLES))


def test_layers_that_did_not_run_in_int8_are_listed_with_the_reason() -> None:
    layers = (
        LayerTime(name="conv1", precision="int8", ms=0.2, kernel="brgconv_avx512_I8", meant="int8"),
        LayerTime(name="head<b>", precision="f32", ms=0.1, meant="int8", reason="no FakeQuantize on its input"),
        LayerTime(name="softmax", precision="f32", ms=0.1),
    )
    compared = comparison()
    row = compared.rows[-1].model_copy(update={"layers": layers})
    shown = html_report(None, compared.model_copy(update={"rows": (*compared.rows[:-1], row)}), None)
    assert "brgconv_avx512_I8" in shown
    assert shown.count("no FakeQuantize on its input") == 1
    assert "head&lt;b&gt;" in shown and "head<b>" not in shown
    assert fallbacks_of(row) == (layers[1],)
    (warning,) = fallback_warnings([row])
    assert "1 layer meant for INT8 ran in floating point: no FakeQuantize on its input (head<b>)" in warning


def test_the_card_says_what_to_ship_with_its_file_and_size() -> None:
    rows = [
        reference_row(path="/models/net.onnx"),
        row(path="artifacts/openvino/int8/model.xml"),
        reference_row(target="onnxruntime"),
        row(target="onnxruntime", speedup=0.9, latency_ms=Latency(p10=5, p50=6, p90=7, p99=8)),
    ]
    shown = page(calibration(), comparison(*rows))
    assert "Recommended: Ship INT8 on openvino, 2.50x FP32's speed" in shown.words
    assert "artifacts/openvino/int8/model.xml Copy 3.50 MB" in shown.words
    assert shown.count("button", **{"data-copy": "artifacts/openvino/int8/model.xml"}) == 2
    assert "FP32 is not slower on onnxruntime: INT8 is not worth it here." in shown.words
    assert "quantkit export writes it" in shown.words
    assert shown.words.index("Recommended") < shown.words.index("Accuracy against latency")
    alone = page(calibration(), comparison())
    assert "What to ship on each target" not in alone.words
    assert "quantkit tune" not in alone.words


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_path_is_text(name: str) -> None:
    shown = page(None, comparison(reference_row(target=name), row(target=name, path=name, variant=name)))
    assert shown.count("button", **{"data-copy": name}) == 1
    assert shown.count("img", src="x") == 0
    assert len(shown.scripts) == 2


def test_a_command_in_a_recommendation_is_code() -> None:
    lossy = row(top1=0.8, changes={"top1": change(26, 5, 200)})
    shown = page(None, comparison(reference_row(), lossy, data="/data/<b>eval"))
    assert "`" not in shown.text
    assert "quantkit tune RUN --data '/data/<b>eval' --target openvino could win it back" in shown.words
    assert shown.count("b") == 0
