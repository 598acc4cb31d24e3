"""Parts of a calibration merge to exactly what one machine would have made."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import quantkit as qk
from quantkit.config import Config
from quantkit.core.errors import BadInput
from quantkit.core.shard import Shard
from quantkit.core.statistics.files import load_collected
from quantkit.pipeline.calibration.shards import calibrate_shard, merge
from quantkit.pipeline.calibration.stage import calibrate
from quantkit.pipeline.writing import own_folder
from tests.conftest import Quantkit, tiny_model, write_images
from tests.pipeline.calibration.counts import Counted, bits, configured, document


@pytest.fixture
def flawed(tmp_path: Path) -> Path:
    """30 images, of which one, in the middle, cannot be read."""
    images = write_images(tmp_path / "imgs", per_class=10)
    (images / "green" / "3.png").write_text("text")
    return images


def parts_of(config: Config, of: int, folder: Path) -> list[Path]:
    return [calibrate_shard(config, Shard(n, of), folder / f"{n}-of-{of}")[0] for n in range(1, of + 1)]


def model_of(batch: int | str, folder: Path) -> Path:
    path = folder / f"batch-{batch}.onnx"
    onnx.save(tiny_model(batch=batch), path)
    return path


@pytest.mark.parametrize("first_batch", [1, 3])
@pytest.mark.parametrize("batch", ["N", 4])
def test_shards_merge_to_the_bits_of_one_pass(tmp_path: Path, flawed: Path, batch: int | str, first_batch: int) -> None:
    config = configured(model_of(batch, tmp_path), flawed, batch_size=first_batch)
    whole = calibrate(config, tmp_path / "whole")
    assert whole.samples == 29
    assert list(whole.data.skipped) == ["green/3.png"]
    for of in (1, 2, 3, 7) if (batch, first_batch) in (("N", 1), (4, 3)) else (2,):
        parts = parts_of(config, of, tmp_path)
        merged, _ = merge(parts, tmp_path / f"merged-{of}")
        assert bits(tmp_path / f"merged-{of}") == bits(tmp_path / "whole")
        assert document(tmp_path / f"merged-{of}") == document(tmp_path / "whole")
        assert merged.model_dump(exclude={"created"}) == whole.model_dump(exclude={"created"})


def test_the_order_of_the_parts_does_not_matter(tmp_path: Path, model_path: Path, flawed: Path) -> None:
    parts = parts_of(configured(model_path, flawed), 3, tmp_path)
    results = []
    for number, order in enumerate(itertools.permutations(parts)):
        merge(order, tmp_path / f"{number}")
        results.append((bits(tmp_path / f"{number}"), document(tmp_path / f"{number}")))
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("batch", ["N", 4])
def test_shards_without_a_sample_merge_too(tmp_path: Path, batch: int | str) -> None:
    images = write_images(tmp_path / "imgs", per_class=2)
    config = configured(model_of(batch, tmp_path), images)
    calibrate(config, tmp_path / "whole")
    counted = [calibrate_shard(config, Shard(n, 9), tmp_path / f"{n}")[1] for n in range(1, 10)]
    assert counted == ([1] * 6 + [0] * 3 if batch == "N" else [4, 2] + [0] * 7)
    for order in (range(1, 10), range(9, 0, -1)):
        merge([tmp_path / f"{n}" for n in order], tmp_path / "merged")
        assert bits(tmp_path / "merged") == bits(tmp_path / "whole")
        assert document(tmp_path / "merged") == document(tmp_path / "whole")


def test_tensors_that_some_shards_never_see_keep_their_place(tmp_path: Path, flawed: Path) -> None:
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"]),
        helper.make_node("Reshape", ["flat", "all"], ["line"]),
        helper.make_node("Greater", ["line", "edge"], ["bright"]),
        helper.make_node("Compress", ["line", "bright"], ["picked"]),
        helper.make_node("Relu", ["flat"], ["out"]),
    ]
    constants = [numpy_helper.from_array(np.array([-1]), "all"), numpy_helper.from_array(np.float32(2.05), "edge")]
    x = helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["N", 3, 16, 16])
    y = helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["N", 768])
    graph = helper.make_graph(nodes, "picky", [x], [y], constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(proto, tmp_path / "picky.onnx")
    names = [f"{name}/{number}.png" for number in range(10) for name in ("blue", "green", "red")]
    (flawed / "list.txt").write_text("\n".join(names))
    config = configured(tmp_path / "picky.onnx", flawed / "list.txt")
    calibrate(config, tmp_path / "whole")
    parts = parts_of(config, 3, tmp_path)
    seen = ["picked" in load_collected(part / "counts").histograms for part in parts]
    assert seen == [True, False, False]  # only the blue images are so bright
    merge(parts[::-1], tmp_path / "merged")
    assert document(tmp_path / "merged") == document(tmp_path / "whole")
    assert bits(tmp_path / "merged") == bits(tmp_path / "whole")


def test_the_same_command_again_reads_nothing(
    tmp_path: Path, model_path: Path, flawed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = configured(model_path, flawed)
    part, samples = calibrate_shard(config, Shard(2, 3), tmp_path / "part")
    before = {file: file.stat().st_mtime_ns for file in part.rglob("*")}
    again = Counted()
    with caplog.at_level("INFO", "quantkit"):
        assert calibrate_shard(config, Shard(2, 3), part, progress=again) == (part, samples)
    assert again.total == 0
    assert f"{part} already holds shard 2/3." in caplog.text
    assert {file: file.stat().st_mtime_ns for file in part.rglob("*")} == before
    fresh = Counted()
    calibrate_shard(config, Shard(2, 3), part, fresh=True, progress=fresh)
    assert fresh.total == fresh.advanced == 10


def test_another_shard_into_the_same_folder_is_refused_but_for_fresh(
    tmp_path: Path, model_path: Path, flawed: Path
) -> None:
    config = configured(model_path, flawed)
    one, two = parts_of(config, 2, tmp_path)
    with pytest.raises(BadInput, match="already holds shard 2/2"):
        calibrate_shard(config, Shard(1, 2), two)
    calibrate_shard(config, Shard(1, 2), two, fresh=True)
    with pytest.raises(BadInput, match="both hold shard 1/2"):
        merge([one, two], tmp_path / "merged")
    calibrate_shard(config, Shard(2, 2), one, fresh=True)
    calibrate(config, tmp_path / "whole")
    merge([one, two], tmp_path / "merged")
    assert bits(tmp_path / "merged") == bits(tmp_path / "whole")


def test_the_order_of_the_folders_decides_nothing(tmp_path: Path, model_path: Path, flawed: Path) -> None:
    first = calibrate_shard(configured(model_path, flawed, method="minmax"), Shard(1, 2), tmp_path / "a")[0]
    second = calibrate_shard(configured(model_path, flawed, method="entropy"), Shard(2, 2), tmp_path / "b")[0]
    assert merge([first, second], tmp_path / "one")[0].method == "minmax"
    assert merge([second, first], tmp_path / "two")[0].method == "minmax"


@pytest.mark.parametrize("note", ['"digests": {"500": "zz"}', '"digests": {"0": "zz"}', '"skipped": {"999": "x"}'])
def test_a_part_with_an_impossible_note_is_damaged(tmp_path: Path, model_path: Path, flawed: Path, note: str) -> None:
    (part,) = parts_of(configured(model_path, flawed), 1, tmp_path)
    file = part / "counts" / "position.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | json.loads("{" + note + "}")))
    with pytest.raises(BadInput, match="is damaged"):
        merge([part], tmp_path / "merged")


def test_two_processes_do_not_write_into_one_folder(tmp_path: Path, model_path: Path, flawed: Path) -> None:
    config = configured(model_path, flawed)
    with own_folder(tmp_path / "run"):
        (tmp_path / "run" / "manifest.json").write_text('{"quantkit": "0"}')
        with pytest.raises(BadInput, match="Another quantkit is working"):
            calibrate(config, tmp_path / "run")
    (tmp_path / "run" / "manifest.json").unlink()
    assert calibrate(config, tmp_path / "run").samples
    assert not (tmp_path / "run" / ".lock").exists()


def test_other_settings_into_the_same_folder_are_counted_anew(tmp_path: Path, model_path: Path, flawed: Path) -> None:
    (part,) = parts_of(configured(model_path, flawed), 1, tmp_path)
    other = configured(model_path, flawed, batch_size=5)
    assert parts_of(other, 1, tmp_path) == [part]
    calibrate(other, tmp_path / "whole")
    merge([part], tmp_path / "merged")
    assert bits(tmp_path / "merged") == bits(tmp_path / "whole")


@pytest.mark.parametrize("after", [1, 3, 9, 10])
def test_an_interrupted_shard_goes_on(tmp_path: Path, model_path: Path, flawed: Path, after: int) -> None:
    config = configured(model_path, flawed)
    calibrate(config, tmp_path / "whole")
    part = tmp_path / "2-of-3"
    with pytest.raises(KeyboardInterrupt):
        calibrate_shard(config, Shard(2, 3), part, progress=Counted(interrupt_after=after))
    with pytest.raises(BadInput, match=r"2-of-3.*--shard"):
        merge([part], tmp_path / "merged")
    rest = Counted()
    calibrate_shard(config, Shard(2, 3), part, progress=rest)
    assert rest.done_before >= after
    assert rest.done_before + rest.advanced == rest.total == 10
    merge(parts_of(config, 3, tmp_path), tmp_path / "merged")
    assert bits(tmp_path / "merged") == bits(tmp_path / "whole")
    assert document(tmp_path / "merged") == document(tmp_path / "whole")


def test_what_an_interrupted_shard_left_is_not_taken_for_another(
    tmp_path: Path, model_path: Path, flawed: Path
) -> None:
    config = configured(model_path, flawed)
    with pytest.raises(KeyboardInterrupt):
        calibrate_shard(config, Shard(1, 2), tmp_path / "part", progress=Counted(interrupt_after=5))
    two = Counted()
    calibrate_shard(config, Shard(2, 2), tmp_path / "part", progress=two)
    assert (two.done_before, two.advanced) == (0, 15)


def test_a_missing_shard_is_named(tmp_path: Path, model_path: Path, flawed: Path) -> None:
    one, two, three = parts_of(configured(model_path, flawed), 3, tmp_path)
    with pytest.raises(BadInput, match=r"1 of 3 shards are missing: 2/3\..*--shard 2/3"):
        merge([one, three], tmp_path / "merged")
    with pytest.raises(BadInput, match=r"2 of 3 shards are missing: 1/3, 3/3\."):
        merge([two], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_repeated_shard_is_refused(tmp_path: Path, model_path: Path, flawed: Path) -> None:
    one, two = parts_of(configured(model_path, flawed), 2, tmp_path)
    copy = shutil.copytree(one, tmp_path / "copy")
    for parts in ([one, two, one], [one, two, copy]):
        with pytest.raises(BadInput, match=r"both hold shard 1/2\."):
            merge(parts, tmp_path / "merged")


@pytest.mark.parametrize("change", ["settings", "count", "image", "model"])
def test_parts_of_different_calibrations_are_refused(
    tmp_path: Path, model_path: Path, flawed: Path, change: str
) -> None:
    config = configured(model_path, flawed)
    one, _ = calibrate_shard(config, Shard(1, 2), tmp_path / "one")
    if change == "settings":
        config = configured(model_path, flawed, batch_size=2)
    if change == "image":
        shutil.copy(flawed / "red" / "0.png", flawed / "blue" / "0.png")
    if change == "model":
        onnx.save(tiny_model(batch=2), model_path)
    two, _ = calibrate_shard(config, Shard(2, 3 if change == "count" else 2), tmp_path / "two")
    with pytest.raises(BadInput, match=r"one and .*two are not of the same calibration\."):
        merge([one, two], tmp_path / "merged")


def test_another_method_is_no_other_calibration(tmp_path: Path, model_path: Path, flawed: Path) -> None:
    one, _ = calibrate_shard(configured(model_path, flawed, method="entropy"), Shard(1, 2), tmp_path / "one")
    two, _ = calibrate_shard(configured(model_path, flawed, method="minmax"), Shard(2, 2), tmp_path / "two")
    assert merge([one, two], tmp_path / "merged")[0].method == "entropy"  # the first part's


@pytest.mark.parametrize("what", ["nothing", "empty", "run", "foreign"])
def test_a_folder_that_is_no_part_is_refused(tmp_path: Path, model_path: Path, flawed: Path, what: str) -> None:
    config = configured(model_path, flawed)
    folder = tmp_path / "folder"
    if what in ("empty", "foreign"):
        folder.mkdir()
    if what == "foreign":
        (folder / "part.json").write_text('{"number": 1}')
    if what == "run":
        calibrate(config, folder)
    with pytest.raises(BadInput, match=r"folder.*quantkit calibrate --shard"):
        merge([folder], tmp_path / "merged")


def test_no_part_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No part is given"):
        merge([], tmp_path / "merged")


@pytest.mark.parametrize("lost", ["manifest.json", "counts/histograms.npz", "counts/position.json", "counts"])
def test_an_unfinished_or_damaged_part_is_refused(tmp_path: Path, model_path: Path, flawed: Path, lost: str) -> None:
    (part,) = parts_of(configured(model_path, flawed), 1, tmp_path)
    target = part / lost
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    with pytest.raises(BadInput, match=r"1-of-1.*(not finished|damaged|readable)"):
        merge([part], tmp_path / "merged")


def test_a_part_whose_counts_are_anothers_is_refused(tmp_path: Path, model_path: Path, flawed: Path) -> None:
    one, two = parts_of(configured(model_path, flawed), 2, tmp_path)
    shutil.rmtree(two / "counts")
    shutil.copytree(one / "counts", two / "counts")
    with pytest.raises(BadInput, match="2-of-2"):
        merge([one, two], tmp_path / "merged")


def test_a_part_does_not_take_the_place_of_a_finished_run(tmp_path: Path, model_path: Path, flawed: Path) -> None:
    config = configured(model_path, flawed)
    calibrate(config, tmp_path / "run")
    with pytest.raises(BadInput, match="finished calibration"):
        calibrate_shard(config, Shard(1, 2), tmp_path / "run")
    assert calibrate(config, tmp_path / "run", progress=(again := Counted())).samples == 29
    assert again.total == 0


def test_neither_a_run_nor_a_merge_takes_the_place_of_a_part(tmp_path: Path, model_path: Path, flawed: Path) -> None:
    config = configured(model_path, flawed)
    (part,) = parts_of(config, 1, tmp_path)
    with pytest.raises(BadInput, match="holds a shard"):
        merge([part], part)
    with pytest.raises(BadInput, match="holds a shard"):
        calibrate(config, part)
    assert merge([part], tmp_path / "merged")[0].samples == 29


@pytest.mark.parametrize("text", ["0/3", "4/3", "x", "1/0", "1", "", "1/3/5", "-1/3", "1 /3", "1.0/3", "²/3"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not a shard"):
        Shard.parse(text)


def test_shards_divide_the_samples_in_whole_batches() -> None:
    for samples, of, step in itertools.product((0, 1, 9, 30), (1, 2, 7), (1, 4)):
        owned = [Shard(n, of).positions(samples, step) for n in range(1, of + 1)]
        assert sorted(itertools.chain(*owned)) == list(range(samples))
        owners = {position: number for number, own in enumerate(owned) for position in own}
        assert all(owners[p] == owners[p - p % step] for p in range(samples))


def test_too_many_unreadable_images_are_found_at_the_merge(tmp_path: Path, model_path: Path, flawed: Path) -> None:
    (flawed / "green" / "4.png").write_text("text")
    names = [file.relative_to(flawed).as_posix() for file in sorted(flawed.rglob("*.png"))]
    (flawed / "list.txt").write_text("\n".join(names))  # taken in this order, so that each shard meets one of the two
    config = configured(model_path, flawed / "list.txt")
    with pytest.raises(BadInput, match="2 of 30 images"):
        calibrate(config)
    parts = parts_of(config, 2, tmp_path)
    with pytest.raises(BadInput, match=r"2 of 30 images in .*list\.txt cannot be read.*green/.\.png \(not an image\)"):
        merge(parts, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_merging_needs_neither_model_nor_data(tmp_path: Path, model_path: Path, flawed: Path) -> None:
    parts = parts_of(configured(model_path, flawed), 2, tmp_path)
    whole = qk.calibrate(model_path, flawed, output=tmp_path / "whole")
    model_path.unlink()
    shutil.rmtree(flawed)
    merged = qk.merge([str(part) for part in parts], tmp_path / "merged")
    assert merged.folder == tmp_path / "merged"
    assert merged.model_dump(exclude={"created"}) == whole.model_dump(exclude={"created"})
    assert qk.load_calibration(tmp_path / "merged").model_dump() == merged.model_dump()


def test_a_merged_run_is_a_run_like_any(
    tmp_path: Path, model_path: Path, flawed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = configured(model_path, flawed)
    merged, _ = merge(parts_of(config, 2, tmp_path))
    assert merged.folder is not None
    assert merged.folder.parent == Path("runs")
    again = calibrate(config, merged.folder, progress=(progress := Counted()))  # it holds the whole's counts
    assert progress.total == 0
    assert again.model_dump() == merged.model_dump()


def test_on_the_command_line(tmp_path: Path, invoked: Quantkit, model_path: Path, flawed: Path) -> None:
    made = invoked("calibrate", model_path, "--data", flawed, "--shard", "1/2", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout) == {"schema_version": 1, "part": "part-1-of-2", "shard": "1/2", "samples": 15}
    made = invoked("calibrate", model_path, "--data", flawed, "--shard", "2/2", "-o", "second")
    assert made.stdout == "Shard 2/2, 14 samples: second\n"
    assert "quantkit merge PART..." in made.stderr

    merged = invoked("merge", "second", "part-1-of-2", "-o", "whole", "--json")
    assert merged.returncode == 0, merged.stderr
    result = json.loads(merged.stdout)
    assert (result["run"], result["samples"], result["method"]) == ("whole", 29, "mse-robust")
    assert {a["target"] for a in result["artifacts"]} >= {"onnxruntime", "tensorrt"}
    assert all(Path(tmp_path / file).is_file() for a in result["artifacts"] for file in a["files"])
    assert (tmp_path / "whole" / "report.html").is_file()
    qk.calibrate(model_path, flawed, output=tmp_path / "single")
    assert bits(tmp_path / "whole") == bits(tmp_path / "single")

    model_path.unlink()
    ranges = invoked("merge", "second", "part-1-of-2", "-o", "ranges")
    assert ranges.returncode == 0, ranges.stderr
    assert "nothing is exported" in ranges.stderr.replace("\n", " ")
    assert not (tmp_path / "ranges" / "artifacts").exists()
    assert bits(tmp_path / "ranges") == bits(tmp_path / "single")


def test_bad_shards_on_the_command_line_exit_with_2(
    tmp_path: Path, invoked: Quantkit, model_path: Path, images: Path
) -> None:
    bad = invoked("calibrate", model_path, "--data", images, "--shard", "4/3")
    assert bad.returncode == 2
    assert "'4/3' is not a shard" in bad.stderr
    missing = invoked("merge", images)
    assert missing.returncode == 2
    assert "part.json" in missing.stderr.replace("\n", "")
    assert not list(tmp_path.glob("part*"))
