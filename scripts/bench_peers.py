"""One contestant of bench_calibration.py or bench_accuracy.py, in a process of its own. Writes what it notes to
--result as JSON.

python scripts/bench_peers.py select MODEL DATA SAMPLES --result work.json    the images that quantkit would choose
python scripts/bench_peers.py calibrate nncf work.json --result FILE
python scripts/bench_peers.py ready nncf work.json --result FILE              its memory with the model loaded
python scripts/bench_peers.py quantize nncf work.json --folder OUT --result FILE     an INT8 model

Preprocessing is written out here, so that no peer pays for importing quantkit.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Work:
    """What every contestant calibrates on: absolute paths, and (height, width) of the model's NCHW input."""

    model: str
    input: str
    size: tuple[int, int]
    images: list[str]


def select(model: Path, data: Path, samples: int) -> Work:
    """The images that ``quantkit calibrate --samples`` takes, for a model of one image input."""
    from quantkit.core.presets import DEFAULT_PRESET, preset
    from quantkit.datasets import open_dataset
    from quantkit.datasets.images import ImageDataset
    from quantkit.graph.model_file import open_model

    opened = open_dataset(data, open_model(model).inputs, preset(DEFAULT_PRESET), samples)
    dataset = opened.dataset
    if not isinstance(dataset, ImageDataset) or dataset.preprocess.layout != "nchw" or not dataset.preprocess.size:
        sys.exit("The peers are fed images into one NCHW input: give a folder or a list of images, and such a model.")
    images = [str(Path(dataset.paths[i]).resolve()) for i in opened.indices]
    return Work(str(model.resolve()), dataset.input_name, dataset.preprocess.size, images)


def decoded(path: str, size: tuple[int, int]) -> Any:
    """float32 of shape (1, 3, H, W): bilinear stretch, /255, ImageNet mean and std, as the preset imagenet-stretch."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR), dtype=np.float32)
    values = (pixels / np.float32(255) - np.array(MEAN, dtype=np.float32)) / np.array(STD, dtype=np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None])


def session_ready(work: Work) -> Any:
    """A plain FP32 session with onnxruntime's defaults, beside NumPy and Pillow."""
    import onnxruntime
    from PIL import Image  # noqa: F401

    return onnxruntime.InferenceSession(work.model, providers=["CPUExecutionProvider"])


def forward(work: Work) -> dict[str, float]:
    """The bare forward passes: one run an image at batch 1, over images decoded before the clock starts."""
    session = session_ready(work)
    feeds = [{work.input: decoded(image, work.size)} for image in work.images]
    session.run(None, feeds[0])  # the first run allocates
    start = time.perf_counter()
    for feed in feeds:
        session.run(None, feed)
    return {"forward_s": time.perf_counter() - start}


def onnxruntime_ready(work: Work) -> Any:
    """onnxruntime's calibration package, and the plain session."""
    from onnxruntime.quantization import calibrate  # noqa: F401

    return session_ready(work)


def onnxruntime_entropy(work: Work) -> dict[str, float]:
    """create_calibrator's defaults for entropy: every float tensor, symmetric=False, 128 bins, 128 quantized bins."""
    from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod, create_calibrator

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds = ({work.input: decoded(image, work.size)} for image in work.images)

        def get_next(self) -> Any:
            return next(self.feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        augmented = str(Path(folder) / "augmented.onnx")  # the default is a file in the current folder
        method = CalibrationMethod.Entropy
        calibrator = create_calibrator(work.model, augmented_model_path=augmented, calibrate_method=method)
        calibrator.collect_data(Reader())
        return {"tensors": len(calibrator.compute_data().data)}


class Images:
    """The images as onnxruntime's readers want them, decoded one by one."""

    def __init__(self, work: Work) -> None:
        self._feeds = ({work.input: decoded(image, work.size)} for image in work.images)

    def get_next(self) -> Any:
        """The next feed, or None."""
        return next(self._feeds, None)


def quantize_quantkit(work: Work, folder: Path) -> Path:
    """calibrate and export to OpenVINO, all settings at their defaults."""
    import quantkit

    listed = folder / "images.txt"
    listed.write_text("\n".join(work.images) + "\n")
    calibration = quantkit.calibrate(work.model, listed, samples=len(work.images), output=folder / "run")
    quantkit.export(calibration, target="openvino", output=folder / "out", precisions=["int8"])
    return next((folder / "out").rglob("model.xml"))


def quantize_nncf(work: Work, folder: Path, **settings: str) -> Path:
    """nncf.quantize; ``settings`` name members of its enumerations."""
    import openvino

    nncf = import_nncf()
    chosen: dict[str, Any] = {}
    if "preset" in settings:
        chosen["preset"] = nncf.QuantizationPreset[settings["preset"]]
    if "model_type" in settings:
        chosen["model_type"] = nncf.ModelType[settings["model_type"]]
    with contextlib.redirect_stdout(sys.stderr):
        dataset = nncf.Dataset(work.images, lambda image: decoded(image, work.size))
        model = openvino.Core().read_model(work.model)
        quantized = nncf.quantize(model, dataset, subset_size=len(work.images), **chosen)
    openvino.save_model(quantized, folder / "model.xml", compress_to_fp16=False)
    return folder / "model.xml"


def quantize_onnxruntime(work: Work, folder: Path, method: str, activations: str) -> Path:
    """quantize_static after its own preprocessing: Q/DQ, per-channel s8 weights."""
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready = folder / "ready.onnx"
    try:
        quant_pre_process(work.model, str(ready))
    except Exception:  # noqa: BLE001  (it fails on some models; quantize_static takes them as they are)
        ready = Path(work.model)
    with contextlib.chdir(folder) if hasattr(contextlib, "chdir") else contextlib.nullcontext():
        quantize_static(
            str(ready),
            str(folder / "model.onnx"),
            Images(work),  # type: ignore[arg-type]
            per_channel=True,
            activation_type=QuantType[activations],
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[method],
        )
    return folder / "model.onnx"


def quantize_modelopt(work: Work, folder: Path, method: str) -> Path:
    """modelopt.onnx.quantization.quantize in int8, of a copy: it rewrites the file that it is given."""
    import shutil

    import numpy as np
    from modelopt.onnx.quantization import quantize

    copy = folder / "copy.onnx"
    shutil.copyfile(work.model, copy)
    data = {work.input: np.concatenate([decoded(image, work.size) for image in work.images])}
    quantize(
        str(copy),
        quantize_mode="int8",
        calibration_data=data,
        calibration_method=method,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=str(folder / "model.onnx"),
    )
    return folder / "model.onnx"


def quantize_quark(work: Work, folder: Path, rounding: str) -> Path:
    """ModelQuantizer with the preset INT8_CNN_ACCURATE, of per-channel weights, and ``rounding``'s own settings."""
    from quark.onnx import ModelQuantizer
    from quark.onnx.quantization.config import Config, custom_config

    settings = custom_config.get_default_config("INT8_CNN_ACCURATE")
    settings.per_channel = True
    settings.extra_options["FastFinetune"] = getattr(custom_config, f"DEFAULT_{rounding}_PARAMS")
    with contextlib.redirect_stdout(sys.stderr):
        quantizer = ModelQuantizer(Config(global_quant_config=settings))
        quantizer.quantize_model(work.model, str(folder / "model.onnx"), Images(work))
    return folder / "model.onnx"


def quantize_aimet(work: Work, folder: Path) -> Path:
    """apply_adaround with its 10,000 iterations a layer, one image each, then ranges by its default, min-max."""
    import aimet_onnx
    import onnx

    feeds = [{work.input: decoded(image, work.size)} for image in work.images]
    with contextlib.redirect_stdout(sys.stderr):
        simulated = aimet_onnx.QuantizationSimModel(onnx.load(work.model))
        aimet_onnx.apply_adaround(simulated, feeds)
        simulated.compute_encodings(feeds)
        onnx.save(simulated.to_onnx_qdq(), folder / "model.onnx")
    return folder / "model.onnx"


def import_nncf() -> Any:
    """NNCF without its telemetry, and without its words on stdout."""
    os.environ["NNCF_CI"] = "1"
    with contextlib.redirect_stdout(sys.stderr):
        import nncf
    return nncf


def nncf_ready(work: Work) -> Any:
    """NNCF, and the model compiled by OpenVINO: ready to run, as a session of onnxruntime is."""
    import openvino
    from PIL import Image  # noqa: F401

    import_nncf()
    return openvino.Core().compile_model(work.model, "CPU")


def nncf_quantize(work: Work) -> dict[str, float]:
    """nncf.quantize with its defaults. The quantized model, which it makes in the same call, is not saved."""
    import openvino

    nncf = import_nncf()
    model = openvino.Core().read_model(work.model)
    with contextlib.redirect_stdout(sys.stderr):
        dataset = nncf.Dataset(work.images, lambda image: decoded(image, work.size))
        quantized = nncf.quantize(model, dataset, subset_size=len(work.images))
    return {"fake_quantizes": sum(op.get_type_name() == "FakeQuantize" for op in quantized.get_ops())}


def quantkit_ready(work: Work) -> Any:
    """All that ``quantkit calibrate`` imports, and a plain FP32 session."""
    import quantkit.cli.calibrate
    import quantkit.cli.console
    import quantkit.cli.export
    import quantkit.cli.main
    import quantkit.cli.settings
    import quantkit.pipeline.calibration.stage
    import quantkit.pipeline.export
    import quantkit.pipeline.report  # noqa: F401

    return session_ready(work)


READY: dict[str, Callable[[Work], Any]] = {
    "forward": session_ready,
    "onnxruntime-entropy": onnxruntime_ready,
    "nncf": nncf_ready,
    "quantkit": quantkit_ready,
}
CALIBRATE: dict[str, Callable[[Work], dict[str, float]]] = {  # quantkit calibrates through its own command line
    "forward": forward,
    "onnxruntime-entropy": onnxruntime_entropy,
    "nncf": nncf_quantize,
}

QUANTIZE: dict[str, Callable[[Work, Path], Path]] = {
    "quantkit": quantize_quantkit,
    "nncf": quantize_nncf,
    "nncf-mixed": partial(quantize_nncf, preset="MIXED"),
    "nncf-transformer": partial(quantize_nncf, model_type="TRANSFORMER"),
    "onnxruntime-minmax-s8": partial(quantize_onnxruntime, method="MinMax", activations="QInt8"),
    "onnxruntime-minmax-u8": partial(quantize_onnxruntime, method="MinMax", activations="QUInt8"),
    "onnxruntime-percentile-s8": partial(quantize_onnxruntime, method="Percentile", activations="QInt8"),
    "onnxruntime-percentile-u8": partial(quantize_onnxruntime, method="Percentile", activations="QUInt8"),
    "onnxruntime-entropy-s8": partial(quantize_onnxruntime, method="Entropy", activations="QInt8"),
    "onnxruntime-entropy-u8": partial(quantize_onnxruntime, method="Entropy", activations="QUInt8"),
    "modelopt-max": partial(quantize_modelopt, method="max"),
    "modelopt-entropy": partial(quantize_modelopt, method="entropy"),
    "quark-adaround": partial(quantize_quark, rounding="ADAROUND"),
    "quark-adaquant": partial(quantize_quark, rounding="ADAQUANT"),
    "aimet-adaround": quantize_aimet,
}
IMPORTS = {
    "quantkit": "quantkit",
    "nncf": "nncf",
    "onnxruntime": "onnxruntime",
    "modelopt": "modelopt.onnx.quantization",
    "quark": "quark.onnx",
    "aimet": "aimet_onnx",
}
DISTRIBUTIONS = {"modelopt": "nvidia-modelopt", "quark": "amd-quark", "aimet": "aimet-onnx"}


def quantized(peer: str, work: Work, folder: Path) -> dict[str, Any]:
    """Seconds of the whole call after the imports, memory that it added at its peak, and the model it made."""
    package = peer.split("-")[0]
    if package == "nncf":
        import openvino  # noqa: F401

        import_nncf()
    else:
        importlib.import_module(IMPORTS[package])
    before = resident_bytes()
    start = time.perf_counter()
    model = QUANTIZE[peer](work, folder)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    version = importlib.metadata.version(DISTRIBUTIONS.get(package, package))
    return {"seconds": seconds, "rss_bytes": peak - before, "model": str(model), "version": f"{package} {version}"}


def resident_bytes() -> int:
    """This process's resident memory now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Choose the images, or be one contestant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    chooser = actions.add_parser("select")
    chooser.add_argument("model", type=Path)
    chooser.add_argument("data", type=Path)
    chooser.add_argument("samples", type=int)
    for name, peers in (("calibrate", CALIBRATE), ("ready", READY), ("quantize", QUANTIZE)):
        action = actions.add_parser(name)
        action.add_argument("peer", choices=peers)
        action.add_argument("work", type=Path)
    actions.choices["quantize"].add_argument("--folder", type=Path, required=True)
    for action in actions.choices.values():
        action.add_argument("--result", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.action == "select":
        found = asdict(select(arguments.model, arguments.data, arguments.samples))
    else:
        work = Work(**json.loads(arguments.work.read_text()))
        if arguments.action == "quantize":
            found = quantized(arguments.peer, work, arguments.folder)
        elif arguments.action == "ready":
            held = READY[arguments.peer](work)
            found = {"rss_bytes": resident_bytes()}
            del held  # it had to live until the memory was read
        else:
            found = CALIBRATE[arguments.peer](work)
    arguments.result.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
