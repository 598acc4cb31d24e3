"""However a pass is divided over workers, threads and runs of the model, it counts the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import quantkit as qk
from quantkit.core.errors import BadInput
from quantkit.core.progress import silent
from quantkit.core.shard import WHOLE
from quantkit.core.statistics.files import save_collected
from quantkit.pipeline.calibration import one_pass as passes
from quantkit.pipeline.calibration import workers
from quantkit.pipeline.calibration.checkpoint import Checkpoint
from quantkit.pipeline.calibration.stage import chosen, open_calibration_data, prepare_job
from quantkit.pipeline.calibration.workers import Group, division
from tests.conftest import tiny_model, write_images
from tests.pipeline.calibration.counts import Counted, bits, configured

MB = 1 << 20


@pytest.mark.parametrize(
    ("size", "cores", "expected"),
    [
        (MB, 1, (1, 1)),
        (MB, 2, (2, 1)),
        (MB, 64, (64, 1)),
        (8 * MB, 64, (32, 2)),
        (64 * MB, 2, (2, 1)),
        (64 * MB, 16, (4, 4)),
        (200 * MB, 8, (1, 8)),
        (10_000 * MB, 8, (1, 8)),  # a model larger than all the memory meant for this runs all the same
        (0, 4, (4, 1)),
    ],
)
def test_the_division_fills_the_cores_within_the_memory(size: int, cores: int, expected: tuple[int, int]) -> None:
    assert division(size, cores) == expected


@pytest.mark.parametrize("cores", range(1, 70, 3))
@pytest.mark.parametrize("megabytes", [0, 1, 9, 50, 130, 1000])
def test_no_division_takes_more_cores_or_memory_than_there_are(cores: int, megabytes: int) -> None:
    count, threads = division(megabytes * MB, cores)
    assert count >= 1
    assert threads >= 1
    assert count * threads <= cores
    assert count == 1 or count * megabytes * MB <= workers.ACTIVATION_MEMORY


@pytest.fixture
def flawed(tmp_path: Path) -> Path:
    """30 images, of which one cannot be read."""
    images = write_images(tmp_path / "imgs", per_class=10)
    (images / "green" / "3.png").write_text("text")
    return images


def passed(model: Path, data: Path, cores: int, folder: Path | None = None, **calibrate: object) -> Checkpoint:
    """One pass over everything on so many cores."""
    job = prepare_job(configured(model, data, **calibrate))
    opened = open_calibration_data(job)
    return passes.collect(job.counting(cores), chosen(opened, job.model), WHOLE, folder, job.manifest(opened), silent)


def same(found: list[Checkpoint], tmp_path: Path) -> bool:
    contents = []
    for number, checkpoint in enumerate(found):
        (tmp_path / f"bits-{number}").mkdir()
        save_collected(tmp_path / f"bits-{number}", checkpoint.collected)
        contents.append(bits(tmp_path / f"bits-{number}"))
    return all(content == contents[0] for content in contents)


@pytest.mark.parametrize("batch", ["N", 4])
def test_any_number_of_workers_and_threads_counts_the_same_bits(
    tmp_path: Path, flawed: Path, batch: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx.save(tiny_model(batch=batch), tmp_path / "m.onnx")
    divisions = []

    def noted(size: int, cores: int) -> tuple[int, int]:
        divisions.append(division(size, cores))
        return divisions[-1]

    monkeypatch.setattr(passes, "division", noted)
    found = [passed(tmp_path / "m.onnx", flawed, cores) for cores in (1, 2, 4)]
    monkeypatch.setattr(workers, "ACTIVATION_MEMORY", 1)  # no run fits beside another
    found += [passed(tmp_path / "m.onnx", flawed, cores) for cores in (2, 3, 4)]
    assert divisions == [(1, 1), (2, 1), (4, 1), (1, 2), (1, 3), (1, 4)]
    assert same(found, tmp_path)
    assert all((f.done, f.counted, list(f.skipped.values())) == (30, 29, ["not an image"]) for f in found)
    assert all(f.digests == found[0].digests for f in found)


def test_the_activations_of_all_workers_fit_into_the_memory_meant_for_them(
    tmp_path: Path, flawed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx.save(tiny_model(), tmp_path / "m.onnx")
    # float32 values of the input and of all outputs of one image, but those of the two ReLUs
    one = 4 * (3 * 256 + 4 * 16 * 256 + 2 * 16 + 3)
    seen = []
    monkeypatch.setattr(passes, "division", lambda size, cores: seen.append(size) or (1, 1))
    passed(tmp_path / "m.onnx", flawed, 1)
    onnx.save(tiny_model(batch=4), tmp_path / "m.onnx")
    passed(tmp_path / "m.onnx", flawed, 1)
    assert seen == [one, 4 * one]


@pytest.mark.parametrize("per_class", [5, 6])  # 15 and 18 images, no multiple of 4
def test_a_fixed_batch_counts_each_image_once_and_the_padding_never(tmp_path: Path, per_class: int) -> None:
    images = write_images(tmp_path / "imgs", per_class=per_class)
    onnx.save(tiny_model(), tmp_path / "free.onnx")
    onnx.save(tiny_model(batch=4), tmp_path / "fixed.onnx")
    free = qk.calibrate(tmp_path / "free.onnx", images, output=tmp_path / "free")
    fixed = qk.calibrate(tmp_path / "fixed.onnx", images, output=tmp_path / "fixed")
    assert free.samples == fixed.samples == 3 * per_class
    assert free.data.sha256 == fixed.data.sha256
    assert list(free.tensors) == list(fixed.tensors)
    for name in free.tensors:
        a, b = free.histograms[name], fixed.histograms[name]
        assert a.total == b.total
        for attribute in ("width", "minimum", "maximum"):
            assert getattr(a, attribute) == pytest.approx(getattr(b, attribute), rel=1e-5, abs=1e-6)
        assert a.moving.maximum == pytest.approx(b.moving.maximum, rel=1e-5, abs=1e-6)
        np.testing.assert_allclose(free.channels[name].mean, fixed.channels[name].mean, atol=1e-5)
        assert free.channels[name].samples == fixed.channels[name].samples == 3 * per_class
        assert free.collected.extents[name].position == fixed.collected.extents[name].position
        for method in ("minmax", "percentile", "mse"):
            ranges = (free.tensors[name].candidates[method], fixed.tensors[name].candidates[method])
            assert ranges[0].amax == pytest.approx(ranges[1].amax, rel=2e-3)


def test_the_input_is_counted_to_the_value(tmp_path: Path) -> None:
    values = np.random.default_rng(1).standard_normal((7, 3, 16, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", values)
    for batch in ("N", 4):
        onnx.save(tiny_model(batch=batch), tmp_path / "m.onnx")
        histogram = passed(tmp_path / "m.onnx", tmp_path / "x.npy", 2).collected.histograms["input"]
        assert histogram.total == values.size
        assert (histogram.minimum, histogram.maximum) == (float(values.min()), float(values.max()))
        bins = np.abs(values / np.float32(histogram.width)).astype(int)
        assert np.array_equal(histogram.positive, np.bincount(bins[values >= 0], minlength=2049))
        assert np.array_equal(histogram.negative, np.bincount(bins[values < 0], minlength=2049))


def test_groups_are_whole_runs_of_positions_padded_to_the_batch(tmp_path: Path, flawed: Path) -> None:
    onnx.save(tiny_model(), tmp_path / "m.onnx")
    job = prepare_job(configured(tmp_path / "m.onnx", flawed))
    stream = chosen(open_calibration_data(job), job.model)
    groups = list(Group.of(stream.samples(range(30)), 4))
    (lost,) = stream.skipped
    assert [len(group.inputs["input"]) for group in groups] == [4] * 8
    assert [s.position for group in groups for s in group.samples] == [p for p in range(30) if p != lost]
    assert all(len({s.position // 4 for s in group.samples}) == 1 for group in groups)
    padding = groups[-1].inputs["input"]
    assert len(groups[-1].samples) == 2
    assert np.array_equal(padding[2], padding[1])
    assert np.array_equal(padding[3], padding[1])


@pytest.mark.timeout(30)
@pytest.mark.parametrize("cores", [1, 2, 4])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_value_that_is_not_finite_ends_the_pass_and_is_named(
    tmp_path: Path, cores: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if threads > 1:
        monkeypatch.setattr(workers, "ACTIVATION_MEMORY", 1)
    values = np.random.default_rng(1).standard_normal((40, 3, 16, 16)).astype(np.float32)
    onnx.save(tiny_model(), tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", values)
    job = prepare_job(configured(tmp_path / "m.onnx", tmp_path / "x.npy"))
    first = open_calibration_data(job).indices[0]
    values[np.arange(40) != first] = np.nan  # the first batch is sound, and then every worker meets one
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(BadInput) as error:
        passed(tmp_path / "m.onnx", tmp_path / "x.npy", cores)
    assert "'input' holds nan for x.npy[" in str(error.value)


@pytest.mark.parametrize("after", [1, 7, 18])
def test_a_pass_on_one_core_goes_on_on_four(tmp_path: Path, model_path: Path, images: Path, after: int) -> None:
    whole = passed(model_path, images, 2)
    (tmp_path / "run").mkdir()
    job = prepare_job(configured(model_path, images))
    opened = open_calibration_data(job)
    manifest = job.manifest(opened)
    with pytest.raises(KeyboardInterrupt):
        interrupted = Counted(interrupt_after=after)
        passes.collect(job.counting(1), chosen(opened, job.model), WHOLE, tmp_path / "run", manifest, interrupted)
    rest = Counted()
    found = passes.collect(job.counting(4), chosen(opened, job.model), WHOLE, tmp_path / "run", manifest, rest)
    assert rest.done_before >= after
    assert (found.done, found.counted) == (whole.done, whole.counted)
    assert found.digests == whole.digests
    assert same([whole, found], tmp_path)
