"""What the detection tests share: random scenes, rendered images, and a detector that finds coloured squares."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

from quantkit.datasets.boxes import Boxes
from quantkit.tasks.detection.decode import Found

CLASSES = ("red", "green", "blue")
COLOURS = ((230, 60, 50), (60, 220, 70), (50, 70, 235))
HEIGHT, WIDTH = 96, 128  # of the rendered images, which the detector sees at half their size
CELL = 16  # pixels of the detector's input that one square fills


def random_scenes(images: int = 40, classes: int = 4, seed: int = 5) -> tuple[list[Found], list[Boxes]]:
    """Detections and objects of several classes and sizes, with crowds, empty images and false detections."""
    rng = np.random.default_rng(seed)
    found, boxes = [], []
    for image in range(images):
        count = 0 if image % 7 == 0 else int(rng.integers(1, 9))
        size = np.exp(rng.uniform(np.log(8), np.log(220), (count, 2)))
        corner = rng.uniform(0, 400, (count, 2))
        xyxy = np.concatenate([corner, corner + size], axis=1)
        numbers = rng.integers(0, classes, count)
        crowd = rng.random(count) < 0.15
        boxes.append(Boxes(xyxy, numbers, crowd, size.prod(axis=1) * rng.uniform(0.6, 1, count), 640, 640))
        seen = rng.random(count) < 0.85
        near = xyxy[seen] + rng.normal(0, 0.08, (int(seen.sum()), 4)) * np.tile(size[seen], 2)
        wrong = rng.uniform(0, 300, (int(rng.integers(0, 12)), 2))
        edges = np.concatenate(
            [near, near[::2] + 3, np.concatenate([wrong, wrong + rng.uniform(5, 150, wrong.shape)], 1)]
        )
        kinds = np.concatenate([numbers[seen], numbers[seen][::2], rng.integers(0, classes + 1, len(wrong))])
        scores = np.round(rng.uniform(0.01, 1, len(edges)), 2).astype(np.float32)  # with ties
        order = np.argsort(-scores, kind="stable")
        edges[:, 2:] = np.maximum(edges[:, 2:], edges[:, :2])
        found.append(Found(edges[order], scores[order], kinds[order].astype(np.int64)))
    return found, boxes


def square_images(folder: Path, count: int = 12, seed: int = 3) -> list[list[tuple[int, tuple[int, int, int, int]]]]:
    """Render images of coloured squares, and return the class and the edges of each square by image."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for number in range(count):
        image = Image.fromarray(rng.integers(90, 130, (HEIGHT, WIDTH, 3), dtype=np.uint8))
        painter = ImageDraw.Draw(image)
        objects = []
        for row in range(2):
            for column in range(4):
                if number % 6 and rng.random() < 0.4:  # every sixth image is empty
                    kind = int(rng.integers(0, 3))
                    left, top = column * 2 * CELL, 16 + row * 2 * CELL
                    shade = rng.uniform(0.45, 1.0)
                    colour = tuple(int(110 + shade * (value - 110)) for value in COLOURS[kind])
                    painter.rectangle((left, top, left + 31, top + 31), fill=colour)
                    wide = int(rng.integers(-6, 7))  # annotators are not exact
                    objects.append((kind, (left, top, min(left + 32 + wide, WIDTH), top + 32)))
        image.save(folder / f"{number:03}.png")
        drawn.append(objects)
    return drawn


def square_detector(names: bool = False) -> onnx.ModelProto:
    """Return a detector with YOLOv8's head that finds squares of one cell: 4 by 4 cells of a 64 by 64 input."""
    mean = np.zeros((6, 3, CELL, CELL), np.float32)
    for channel in range(3):
        mean[channel, channel] = 1 / CELL**2
        mean[3 + channel, channel] = -1 / CELL**2
    score = np.zeros((3, 6, 1, 1), np.float32)
    for kind in range(3):
        for channel in range(3):
            weight = 30.0 if channel == kind else -15.0
            score[kind, channel], score[kind, 3 + channel] = weight, -weight
    cells = np.arange(4) * CELL + CELL / 2
    x, y = np.meshgrid(cells, cells)
    boxes = np.stack([x.ravel(), y.ravel(), np.full(16, CELL), np.full(16, CELL)])[None].astype(np.float32)
    values = {
        "w1": mean,
        "b1": np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0], np.float32),
        "w2": score,
        "b2": np.full(3, -4.0, np.float32),
        "boxes": boxes,
        "shape": np.array([1, 3, 16]),
    }
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["means"], name="means", strides=[CELL, CELL]),
        helper.make_node("Relu", ["means"], ["seen"], name="relu"),
        helper.make_node("Conv", ["seen", "w2", "b2"], ["logits"], name="scores"),
        helper.make_node("Sigmoid", ["logits"], ["shares"], name="sigmoid"),
        helper.make_node("Reshape", ["shares", "shape"], ["listed"], name="reshape"),
        helper.make_node("Concat", ["boxes", "listed"], ["output0"], name="joined", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "squares",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 7, 16])],
        [numpy_helper.from_array(array, name) for name, array in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if names:
        helper.set_model_props(model, {"task": "detect", "names": str(dict(enumerate(CLASSES)))})
    onnx.checker.check_model(model)
    return model


def write_coco(file: Path, objects: list[list[tuple[int, tuple[int, int, int, int]]]]) -> Path:
    """Write annotations of the rendered images as COCO JSON, with ids that start at 7."""
    document = {
        "images": [
            {"id": 7 + image, "file_name": f"{image:03}.png", "height": HEIGHT, "width": WIDTH}
            for image in range(len(objects))
        ],
        "categories": [{"id": 10 * kind + 1, "name": name} for kind, name in enumerate(CLASSES)],
        "annotations": [
            {
                "id": 100 * image + number + 1,
                "image_id": 7 + image,
                "category_id": 10 * kind + 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "iscrowd": 0,
            }
            for image, own in enumerate(objects)
            for number, (kind, (left, top, right, bottom)) in enumerate(own)
        ],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document))
    return file


def write_yolo(folder: Path, objects: list[list[tuple[int, tuple[int, int, int, int]]]]) -> Path:
    """Write labels and a data.yaml for rendered images in ``folder / images``."""
    (folder / "labels").mkdir(parents=True)
    for image, own in enumerate(objects):
        lines = [
            f"{kind} {(left + right) / 2 / WIDTH} {(top + bottom) / 2 / HEIGHT} "
            f"{(right - left) / WIDTH} {(bottom - top) / HEIGHT}"
            for kind, (left, top, right, bottom) in own
        ]
        if lines:
            (folder / "labels" / f"{image:03}.txt").write_text("\n".join(lines))
    file = folder / "data.yaml"
    file.write_text(f"path: .\ntrain: images\nval: images  # the same\nnames: {list(CLASSES)}\n")
    return file


def write_voc(folder: Path, objects: list[list[tuple[int, tuple[int, int, int, int]]]]) -> Path:
    """Write XML files for rendered images in ``folder / JPEGImages``."""
    (folder / "Annotations").mkdir(parents=True)
    for image, own in enumerate(objects):
        found = "".join(
            f"<object><name>{CLASSES[kind]}</name><difficult>0</difficult><bndbox><xmin>{left + 1}</xmin>"
            f"<ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
            for kind, (left, top, right, bottom) in own
        )
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
        text = f"<annotation><filename>{image:03}.png</filename>{size}{found}</annotation>"
        (folder / "Annotations" / f"{image:03}.xml").write_text(text)
    return folder


def square_detector_with_lists() -> onnx.ModelProto:
    """The same detector as RT-DETR is exported: labels, boxes and scores, in pixels of the size that is an input."""
    model = square_detector()
    graph = model.graph
    edges = np.zeros((4, 4), np.float32)  # makes edges of centres and sides, as shares of the input
    edges[[0, 1, 0, 1], [0, 1, 2, 3]] = 1 / 64
    edges[[2, 3], [0, 1]], edges[[2, 3], [2, 3]] = -0.5 / 64, 0.5 / 64
    centres = next(own for own in graph.initializer if own.name == "boxes")
    shares = numpy_helper.to_array(centres).transpose(0, 2, 1) @ edges
    graph.initializer.extend(
        [numpy_helper.from_array(shares, "box shares"), numpy_helper.from_array(np.array([1]), "one")]
    )
    graph.initializer.remove(centres)
    del graph.node[-1], graph.output[:]
    graph.node.extend(
        [
            helper.make_node("Cast", ["orig_target_sizes"], ["sizes"], name="sizes", to=TensorProto.FLOAT),
            helper.make_node("Concat", ["sizes", "sizes"], ["sides"], name="sides", axis=1),
            helper.make_node("Unsqueeze", ["sides", "one"], ["whole"], name="whole"),
            helper.make_node("Mul", ["box shares", "whole"], ["boxes"], name="found"),
            helper.make_node("ReduceMax", ["listed"], ["scores"], name="best", axes=[1], keepdims=0),
            helper.make_node("ArgMax", ["listed"], ["labels"], name="label", axis=1, keepdims=0),
        ]
    )
    graph.input.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, [1, 2]))
    for name, kind, shape in (
        ("labels", TensorProto.INT64, [1, 16]),
        ("boxes", TensorProto.FLOAT, [1, 16, 4]),
        ("scores", TensorProto.FLOAT, [1, 16]),
    ):
        graph.output.append(helper.make_tensor_value_info(name, kind, shape))
    onnx.checker.check_model(model)
    return model
