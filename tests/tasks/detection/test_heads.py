"""Every head gives the detections that a model made by hand is known to have; heads are told where that is certain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from quantkit.core.errors import BadConfig
from quantkit.graph.model_file import open_model
from quantkit.graph.model_io import ModelInput
from quantkit.graph.self_description import class_names_in
from quantkit.tasks.detection.choice import certain_head
from quantkit.tasks.detection.decode import Found, decode
from quantkit.tasks.detection.heads import HEADS, head_named

SIZE = (100, 200)  # height and width of the input
# What all models detect: two classes of three, best first, x0 y0 x1 y1 in pixels.
BOXES = np.array([[20, 10, 60, 50], [100, 40, 140, 90.0]])
SCORES, LABELS = np.array([0.9, 0.6]), np.array([2, 0])
EDGES_SHARE = np.array([SIZE[1], SIZE[0], SIZE[1], SIZE[0]])
CENTRES = np.concatenate([(BOXES[:, :2] + BOXES[:, 2:]) / 2, BOXES[:, 2:] - BOXES[:, :2]], axis=1)


def table(background: float, values: np.ndarray) -> np.ndarray:
    """Scores of three classes for four candidates: the two objects, a copy of the first, and nothing."""
    rows = np.full((4, 3), background)
    rows[[0, 1, 2], [2, 0, 2]] = values[[0, 1, 0]]
    return rows


FOUR = np.concatenate([CENTRES, CENTRES[:1] + np.array([1, 1, 0, 0]), [[5, 5, 2, 2]]])
LOGIT = np.log(SCORES / (1 - SCORES))


def joined_scores() -> np.ndarray:
    rows = table(0.0, SCORES)
    rows[2] *= 0.5
    return rows


def outputs_of(head: str) -> dict[str, np.ndarray]:
    """Return what the model of a head computes for one sample."""
    if head == "yolov8":
        return {"output0": np.concatenate([FOUR, joined_scores()], axis=1).T}
    if head == "yolov5":
        return {"output": np.concatenate([FOUR, [[0.95], [0.95], [0.95], [0.0]], joined_scores() / 0.95], axis=1)}
    if head == "yolox":  # (12, 25), (6, 12) and (3, 6) cells; the first two boxes stand in cells 20 and 320
        rows = np.zeros((12 * 25 + 6 * 12 + 3 * 6, 8))
        for row, (left, top, stride) in {20: (20, 0, 8), 320: (8, 1, 16)}.items():
            box = FOUR[0] if row == 20 else FOUR[1]
            rows[row, :2] = box[:2] / stride - (left, top)
            rows[row, 2:4] = np.log(box[2:] / stride)
            rows[row, 4] = 0.95
            rows[row, 5:] = joined_scores()[0 if row == 20 else 1] / 0.95
        return {"output": rows}
    if head == "rtdetr-ultralytics":
        rows = np.concatenate([CENTRES / EDGES_SHARE, table(0.0, SCORES)[:2]], axis=1)
        return {"output0": np.concatenate([rows, np.zeros((1, 7))])}
    if head == "yolov10":
        rows = np.concatenate([BOXES, SCORES[:, None], LABELS[:, None]], axis=1)
        return {"output0": np.concatenate([rows, np.zeros((1, 6))])}
    if head == "detr":
        logits = np.zeros((3, 4))
        for row, (score, label) in enumerate(zip(SCORES, LABELS, strict=True)):
            logits[row] = np.log((1 - score) / 3)
            logits[row, label] = np.log(score)
        logits[2, 3] = 12.0  # no object
        return {"logits": logits, "pred_boxes": np.concatenate([CENTRES / EDGES_SHARE, [[0.5, 0.5, 0.1, 0.1]]])}
    if head == "rt-detr":
        return {"pred_boxes": CENTRES / EDGES_SHARE, "logits": table(-20.0, LOGIT)[:2]}
    share = EDGES_SHARE if HEADS[head].normalized else 1
    first = HEADS[head].first_label
    lists = {
        "boxes": np.concatenate([BOXES, [[0, 0, 1, 1]]]) / share,
        "scores": np.append(SCORES, 0.4 if head.startswith("eff") else 0.0),
        "labels": np.append(LABELS + first, 0).astype(np.int64 if first else np.int32),
    }
    if head.startswith("efficientnms"):  # the third is behind the count
        named = {"boxes": "det_boxes", "scores": "det_scores", "labels": "det_classes"}
        count = {"num_dets": np.array([2], np.int32)}
        return count | {named[name]: values for name, values in lists.items()}
    return lists


def model_of(head: str, folder: Path) -> Path:
    """Write a model whose outputs are constants, with a batch of one."""
    constants = {}
    for name, values in outputs_of(head).items():
        kind = values.dtype if values.dtype.kind == "i" else np.float32
        constants[name] = values[None].astype(kind)
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array, name))
        for name, array in constants.items()
    ]
    graph = helper.make_graph(
        [*nodes, helper.make_node("Relu", ["images"], ["unused"])],
        head,
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, *SIZE])],
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in constants.items()
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), folder / "m.onnx")
    return folder / "m.onnx"


@pytest.mark.parametrize("name", HEADS)
def test_each_head_gives_the_known_detections(name: str, tmp_path: Path) -> None:
    path = model_of(name, tmp_path)
    outputs = open_model(path).outputs
    head = head_named(name, outputs)
    session = onnxruntime.InferenceSession(str(path))
    values = session.run(None, {"images": np.zeros((1, 3, *SIZE), np.float32)})
    named = dict(zip([own.name for own in session.get_outputs()], values, strict=True))
    (found,) = decode(head, {role: named[output] for role, output in head.roles(outputs).items()}, SIZE)
    sure = found.scores > 0.3
    assert np.allclose(found.xyxy[sure], BOXES, atol=1e-3)
    assert np.allclose(found.scores[sure], SCORES, atol=1e-5)
    assert found.classes[sure].tolist() == LABELS.tolist()
    assert (np.diff(found.scores) <= 0).all()


def test_candidates_of_another_size_are_refused() -> None:
    with pytest.raises(BadConfig, match="390 cells"):
        decode(HEADS["yolox"], {"joined": np.zeros((1, 389, 8), np.float32)}, SIZE)


def of_shape(*shape: int | str, name: str = "output0") -> ModelInput:
    return ModelInput(name, shape, "float32")


RTDETR = {"description": "Ultralytics RT-DETR-l"}
NMS_NAMES = ("num_dets", "det_boxes", "det_scores", "det_classes")
ULTRALYTICS = {"task": "detect", "names": str({number: f"c{number}" for number in range(80)})}


@pytest.mark.parametrize(
    ("outputs", "metadata", "size", "classes", "head"),
    [
        ([of_shape("batch", 84, "anchors")], ULTRALYTICS, None, None, "yolov8"),
        ([of_shape(1, 25200, 85)], ULTRALYTICS, None, None, "yolov5"),
        ([of_shape(1, 300, 6)], ULTRALYTICS, None, None, "yolov10"),
        ([of_shape(1, 300, 84)], ULTRALYTICS | RTDETR, None, 80, "rtdetr-ultralytics"),
        ([of_shape(1, 84, 8400)], {}, (640, 640), 80, "yolov8"),
        ([of_shape(1, 25200, 85)], {}, (640, 640), 80, "yolov5"),
        ([of_shape(1, 84, 8401)], {}, (640, 640), 80, None),
        ([of_shape(1, 84, 8400)], {}, (640, 640), 20, None),
        ([of_shape(1, 84, 8400)], {}, None, None, None),
        ([of_shape(1, 100, 92, name="logits"), of_shape(1, 100, 4, name="pred_boxes")], {}, (800, 800), 91, None),
        ([of_shape(1, 1000)], {}, (224, 224), 1000, None),
        ([of_shape(1, 100, name=name) for name in NMS_NAMES], {}, None, None, "efficientnms"),
    ],
)  # fmt: skip
def test_a_head_is_told_where_it_is_certain(
    outputs: list[ModelInput], metadata: dict[str, str], size: tuple[int, int], classes: int, head: str | None
) -> None:
    found = certain_head(outputs, metadata, size, classes)
    assert (None if found is None else found.name) == head


def test_a_head_that_does_not_fit_is_refused_with_shapes_and_presets() -> None:
    with pytest.raises(BadConfig, match=r"output0 \(1, 1000\) are not those of the head 'yolov8'") as refused:
        head_named("yolov8", [of_shape(1, 1000)])
    assert all(name in refused.value.hint for name in HEADS)
    with pytest.raises(BadConfig, match="There is no detection head 'yolo'"):
        head_named("yolo", [of_shape(1, 84, 8400)])


@pytest.mark.parametrize("text", ["", "{", "{0: 'a', 2: 'b'}", "__import__('os')", "7", "[" * 500])
def test_names_that_are_none_are_not_believed(text: str) -> None:
    assert class_names_in({"names": text}) == ()


def test_values_that_are_not_finite_are_no_detections() -> None:
    rows = outputs_of("yolov8")["output0"].astype(np.float32)
    rows[4:, 0] = np.nan
    rows[0, 1] = np.inf
    (found,) = decode(HEADS["yolov8"], {"joined": rows[None]}, SIZE)
    assert isinstance(found, Found)
    assert found.scores.tolist() == pytest.approx([0.45])
