from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from quantkit.core.errors import BadInput, BadModel
from quantkit.core.statistics.clamp import Clamp
from quantkit.graph.graph import Graph, activation_names
from quantkit.graph.model_file import open_model
from quantkit.runtime.activations import ActivationSession, Runner
from tests.conftest import tiny_model


def saved(model: onnx.ModelProto, path: Path, **options: object) -> Path:
    onnx.save(model, path, **options)
    return path


def test_inputs_outputs_and_opset(model_path: Path) -> None:
    model = open_model(model_path)
    assert (model.inputs[0].name, model.inputs[0].shape) == ("input", ("N", 3, 16, 16))
    assert model.outputs[0].shape == ("N", 3)
    assert (model.opset, model.fixed_batch) == (13, None)
    assert model.sha256() == hashlib.sha256(model_path.read_bytes()).hexdigest()


@pytest.mark.parametrize("content", [b"", b"not onnx at all", b"\x00" * 100])
def test_what_is_no_onnx_is_bad_input(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.onnx").write_bytes(content)
    with pytest.raises(BadInput, match="not an ONNX model"):
        open_model(tmp_path / "x.onnx")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_model_is_bad_input(model_path: Path, share: float) -> None:
    data = model_path.read_bytes()
    model_path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BadInput, match="ONNX"):
        open_model(model_path)


def test_no_file_and_a_folder_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no model"):
        open_model(tmp_path / "x.onnx")
    with pytest.raises(BadInput, match="a folder"):
        open_model(tmp_path)


def test_a_quantized_model_and_an_old_opset_are_bad_input(tmp_path: Path) -> None:
    model = tiny_model()
    model.graph.node.append(helper.make_node("QuantizeLinear", ["logits", "s"], ["q"], name="q"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(1.0, np.float32), "s"))
    with pytest.raises(BadInput, match="quantized already"):
        open_model(saved(model, tmp_path / "q.onnx"))
    old = tiny_model()
    old.opset_import[0].version = 6
    with pytest.raises(BadInput, match="opset 6"):
        open_model(saved(old, tmp_path / "old.onnx"))


def test_external_data_is_found_hashed_and_must_stay_in_the_folder(tmp_path: Path) -> None:
    options = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
    path = saved(tiny_model(), tmp_path / "m.onnx", **options)
    model = open_model(path)
    assert model.external_files == (tmp_path / "w.bin",)
    before = model.sha256()
    assert model.load().graph.initializer[0].raw_data
    data = bytearray((tmp_path / "w.bin").read_bytes())
    data[0] ^= 1
    (tmp_path / "w.bin").write_bytes(data)
    assert open_model(path).sha256() != before

    proto = onnx.load(path, load_external_data=False)
    for entry in proto.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../secret"
    (tmp_path.parent / "secret").write_bytes(bytes(100_000))
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(BadInput, match="outside the model's folder"):
        open_model(path)
    (tmp_path / "w.bin").unlink()
    saved(tiny_model(), tmp_path / "m.onnx", **options)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(BadInput, match="missing"):
        open_model(path)


def test_every_float_activation_is_computed(model_path: Path) -> None:
    session = ActivationSession(open_model(model_path))
    assert session.names == ["input", "conv1", "bn1", "relu1", "conv2", "add", "relu2", "pool", "flat", "logits"]
    values = Runner(session).run({"input": np.ones((2, 3, 16, 16), np.float32)})
    # What a ReLU puts out is told from what it takes in.
    cut = {clamp.name: clamp for clamp in session.clamps}
    assert cut == {"relu1": Clamp("relu1", "bn1", 0.0, np.inf), "relu2": Clamp("relu2", "add", 0.0, np.inf)}
    assert list(values) == [name for name in session.names if name not in cut]
    assert values["bn1"].shape == (2, 16, 16, 16)


def test_with_external_weights_too(tmp_path: Path) -> None:
    path = saved(tiny_model(), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    inside = saved(tiny_model(), tmp_path / "inside.onnx")
    feed = {"input": np.ones((1, 3, 16, 16), np.float32)}
    a, b = (Runner(ActivationSession(open_model(p))).run(feed) for p in (path, inside))
    assert all(np.array_equal(a[name], b[name]) for name in b)


def test_constants_and_integers_are_no_activations(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["input"], ["shape"]),
        helper.make_node("Relu", ["weight"], ["constant"]),
        helper.make_node("Mul", ["input", "constant"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(np.ones(4, np.float32), "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert activation_names(Graph(model.graph)) == ["shape", "out"]
    session = ActivationSession(open_model(saved(model, tmp_path / "m.onnx")))
    assert session.names == ["input", "out"]


def test_a_wrong_input_shape_is_bad_input(model_path: Path) -> None:
    session = ActivationSession(open_model(model_path))
    with pytest.raises(BadInput, match="failed on an input of shape"):
        Runner(session).run({"input": np.ones((1, 3, 8, 16), np.float32)})


def test_runs_into_the_same_memory_give_what_a_fresh_session_gives(model_path: Path) -> None:
    model = open_model(model_path)
    runner = Runner(ActivationSession(model, threads=1))
    rng = np.random.default_rng(3)
    for batch in (1, 1, 1, 2, 2, 1):
        feed = {"input": rng.standard_normal((batch, 3, 16, 16)).astype(np.float32)}
        values = {name: array.copy() for name, array in runner.run(feed).items()}
        fresh = Runner(ActivationSession(model, threads=1)).run(feed)
        assert all(np.array_equal(values[name], fresh[name]) for name in fresh)


def test_outputs_whose_shape_hangs_on_the_values_are_followed(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Greater", ["input", "zero"], ["mask"]),
        helper.make_node("Compress", ["input", "flags"], ["kept"]),
        helper.make_node("Reshape", ["mask", "flat"], ["flags"]),
        helper.make_node("ReduceSum", ["kept"], ["out"], keepdims=0),
    ]
    graph = helper.make_graph(
        [nodes[0], nodes[2], nodes[1], nodes[3]],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [])],
        [numpy_helper.from_array(np.zeros(1, np.float32), "zero"), numpy_helper.from_array(np.array([-1]), "flat")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    runner = Runner(ActivationSession(open_model(saved(model, tmp_path / "m.onnx"))))
    for positives in (1, 3, 3, 0, 2):
        row = np.array([[1.0] * positives + [-1.0] * (4 - positives)], np.float32)
        assert runner.run({"input": row})["kept"].size == positives


def test_an_input_without_a_shape_is_refused(tmp_path: Path) -> None:
    """A scalar, which has a shape of no dimensions, is none."""
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 17]> g (float x) => (float y) { y = Relu(x) }')
    model.graph.input[0].type.tensor_type.shape.SetInParent()
    onnx.save(model, tmp_path / "m.onnx")
    assert open_model(tmp_path / "m.onnx").inputs[0].shape == ()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(BadModel, match="does not say how many dimensions it has"):
        open_model(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("net.pt", "torch.onnx.export"),
        ("net.SafeTensors", "torch.onnx.export"),
        ("net.keras", "tf2onnx"),
        ("model.xml", "OpenVINO"),
        ("model.engine", "quantkit build"),
        ("calibration.cache", "quantkit convert"),
    ],
)
def test_other_files_are_recognised_by_name(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / name).write_bytes(b"\x08\x01")
    with pytest.raises(BadModel, match="not an ONNX model") as found:
        open_model(tmp_path / name)
    assert said in str(found.value)
