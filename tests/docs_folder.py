"""The folder that the docs' commands are run in: every file that a page names, made of small models."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

import onnx

from quantkit.demo.write import write_demo

TEXT_PAGES = ("docs/text.md", "docs/tasks.md")
WITHOUT_A_RUN = ("README.md", "docs/index.md", "made-up.md")
BOX_PAGES = ("docs/detection.md", "docs/from-ultralytics.md")


def prepare(folder: Path, page: str, programs: Path) -> None:
    """Fill ``folder`` with what ``page`` names; ``programs`` has the ``quantkit`` to make it with."""
    folder.mkdir(parents=True)
    if page in TEXT_PAGES:
        _texts(folder)
        _quantkit(programs, folder, "calibrate model.onnx --data sentences.jsonl -o out")
    elif page in BOX_PAGES:
        _boxes(folder)
    else:
        write_demo(folder)
    if page not in (*TEXT_PAGES, *BOX_PAGES, *WITHOUT_A_RUN):
        cache = "out/artifacts/tensorrt/int8/calibration.cache"
        for command in (
            "calibrate model.onnx --data imgs/calib -o out --samples 100",
            "compare out --data imgs/eval --samples 100 --seconds 0.2",
            f"convert {cache} --model model.onnx --to tensors-data -o tensors_data.json",
        ):
            _quantkit(programs, folder, command)
        _named(folder)
    if page.startswith("docs/from-"):
        (folder / "quantkit.toml").unlink(missing_ok=True)  # whose preprocessing would go before the model's own
        _sentences(folder)


def _named(folder: Path) -> None:
    """Copy the files of the run ``out`` to the names that pages give the user's own."""
    int8 = folder / "out" / "artifacts" / "tensorrt" / "int8"
    shutil.copy(int8 / "calibration.cache", folder)
    shutil.copy(int8 / "dynamic_ranges.txt", folder)
    shutil.copy(int8 / "model.onnx", folder / "int8.onnx")
    shutil.copy(folder / "out" / "artifacts" / "onnxruntime" / "int8" / "model.onnx", folder / "quantized.onnx")
    shutil.copytree(folder / "imgs" / "eval", folder / "images")
    shutil.copytree(folder / "imgs" / "calib", folder / "shared" / "imgs")
    shutil.copytree(folder / "out", folder / "runs" / "today")


def _texts(folder: Path) -> None:
    from tests.graphs.sequences import text_model, write_tokenizer

    onnx.save(text_model("logits"), folder / "model.onnx")
    write_tokenizer(folder)
    _sentences(folder)


def _sentences(folder: Path) -> None:
    """Write tables of short sentences with labels of three classes."""
    from tests.graphs.sequences import NOUNS

    lines = [
        {"text": f"the {first} sits on a {second}", "label": str((one + two) % 3)}
        for one, first in enumerate(NOUNS)
        for two, second in enumerate(NOUNS)
    ]
    for name in ("sentences.jsonl", "texts.jsonl"):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    with (folder / "labelled.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["text", "label"])
        table.writeheader()
        table.writerows(lines)


def _boxes(folder: Path) -> None:
    from tests.tasks.detection.scenes import square_detector, square_images, write_coco

    for split in ("train2017", "val2017"):
        objects = square_images(folder / "coco" / "images" / split, 30)
    onnx.save(square_detector(names=True), folder / "yolov8n.onnx")
    write_coco(folder / "coco" / "annotations" / "instances_val2017.json", objects)


def _quantkit(programs: Path, folder: Path, command: str) -> None:
    subprocess.run(
        [programs / "quantkit", *command.split(), "--quiet"], cwd=folder, check=True, stdout=subprocess.DEVNULL
    )
