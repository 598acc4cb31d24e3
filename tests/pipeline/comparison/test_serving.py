"""``compare --streams``: models as servers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import quantkit as qk
from quantkit.core.errors import BackendMissing, BadInput
from quantkit.core.serving import Load, Serving
from quantkit.measure.serving import serve
from quantkit.reports.content.serving import Served, knees, serving_table
from quantkit.targets.session import Served as ServedTimes
from quantkit.targets.session import served_in_threads
from tests.conftest import Quantkit


def loads(*figures: tuple[int, float, float]) -> Serving:
    made = tuple(Load(streams=n, per_second=rate, p50_ms=p99 / 2, p99_ms=p99) for n, rate, p99 in figures)
    return Serving(devices=("cuda:0",), batch=4, loads=made)


def test_the_knee_is_the_fewest_streams_with_nearly_the_most() -> None:
    assert loads((1, 100, 10), (2, 190, 10), (4, 198, 20), (8, 200, 41)).knee.streams == 2
    assert loads((1, 100, 10), (2, 189, 10), (4, 198, 20), (8, 200, 41)).knee.streams == 4
    assert loads((1, 100, 10), (2, 60, 40)).knee.streams == 1
    (said,) = knees([Served("INT8", "tensorrt", loads((1, 100, 10), (2, 190, 10), (4, 198, 20)))])
    assert (
        said == "INT8: 2 streams are enough, for 190 requests/s with a p99 of 10 ms; 4 give +4%, with a p99 of 20 ms."
    )
    (said,) = knees([Served("INT8", "tensorrt", loads((1, 100, 10), (2, 190, 10)))])
    tried = "INT8: 2 streams, the most that were tried, give 190 requests/s with a p99 of 10 ms"
    assert said == f"{tried}; more may give more."
    titles, rows = serving_table([Served("INT8", "tensorrt", loads((1, 100, 10), (2, 190, 10)))])
    assert titles == ["Streams", "Requests/s", "Samples/s", "p50, ms", "p99, ms"]
    assert rows == [["INT8", "1", "100", "400", "5", "10"], ["", "2", "190", "760", "5", "10"]]


def test_threads_answer_side_by_side() -> None:
    found = served_in_threads(lambda: time.sleep(0.01), 4, 0.3)
    assert 0.3 <= found.seconds < 0.6
    assert 60 <= len(found.latency) <= 130
    assert min(found.latency) >= 10


class _Sleeper:
    """Answers in 5 ms, whatever else is under way; a stand-in for a device, since there is one CPU."""

    executed_precision = "f32"

    def infer(self, inputs: object) -> dict[str, object]:
        return {}

    def serve(self, inputs: object, streams: int, seconds: float) -> ServedTimes:
        return served_in_threads(lambda: time.sleep(0.005), streams, seconds)


def test_devices_answer_at_the_same_time() -> None:
    start = time.perf_counter()
    found = serve({"a": _Sleeper(), "b": _Sleeper()}, {}, 1, [2, 1, 2], lambda _: None, 0.3)  # type: ignore[dict-item]
    assert time.perf_counter() - start < 1.2  # 0.6 s for two loads; one after the other would take 1.2
    assert found.devices == ("a", "b")
    assert [load.streams for load in found.loads] == [1, 2]
    one, two = (load.per_second for load in found.loads)
    assert 200 < one < 410  # two devices of at most 200 a second
    assert two > 1.5 * one
    assert found.loads[0].joules is None


class _Small(_Sleeper):
    """Has memory for two requests at a time."""

    def serve(self, inputs: object, streams: int, seconds: float) -> ServedTimes:
        if streams > 2:
            raise BackendMissing("cuda:0 has not enough memory.", "Ask for fewer.")
        return super().serve(inputs, streams, seconds)


def test_streams_beyond_memory_leave_those_that_fit() -> None:
    found = serve({"cuda:0": _Small()}, {}, 1, [1, 2, 4, 8], lambda _: None, 0.1)  # type: ignore[dict-item]
    assert [load.streams for load in found.loads] == [1, 2]
    assert found.beyond == "cuda:0 has not enough memory."
    (said,) = knees([Served("INT8", "tensorrt", found)])
    assert "2 streams, the most that fit" in said
    with pytest.raises(BackendMissing):
        serve({"cuda:0": _Small()}, {}, 1, [4], lambda _: None, 0.1)  # type: ignore[dict-item]


@pytest.mark.openvino
def test_rows_tell_what_a_server_gives(model_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "__defaults__", (0.1,))  # seconds
    calibration = qk.calibrate(model_path, images)
    asked = {"precisions": ["int8"], "rounds": 1, "seconds": 0.05, "batch_sizes": [2, 1]}
    found = qk.compare(calibration, images, targets=["onnxruntime", "openvino"], streams=[1, 2], **asked)  # type: ignore[arg-type]
    for row in found.rows:
        assert (row.serving is not None) == (row.batch == 2)  # of the first batch size
        if row.serving:
            assert [load.streams for load in row.serving.loads] == [1, 2]
            assert all(0 < load.p50_ms <= load.p99_ms for load in row.serving.loads)
    assert found.together == ()


def test_on_the_command_line(invoked: Quantkit, model_path: Path, images: Path) -> None:
    qk.calibrate(model_path, images, output=model_path.parent / "run")
    common = ("compare", "run", "--data", images, "--target", "onnxruntime", "--precision", "fp32", "--rounds", "1")
    done = invoked(*common, "--streams", "1", "--streams", "2", "--seconds", "0.05")
    assert done.returncode == 0, done.stderr
    assert "Requests/s" in done.stdout
    assert "requests/s with a p99 of" in done.stdout
    assert "As a server" in (model_path.parent / "run" / "report.html").read_text()
    assert invoked(*common, "--streams", "0").returncode == 2


def test_streams_that_are_none(model_path: Path, images: Path) -> None:
    calibration = qk.calibrate(model_path, images)
    for streams in ([0], [257], [-1]):
        with pytest.raises(BadInput, match="streams"):
            qk.compare(calibration, images, streams=streams)
