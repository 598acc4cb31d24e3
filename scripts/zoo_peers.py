"""One contestant of zoo.py, in a process of its own. Writes what it notes to --result as JSON.

python scripts/zoo_peers.py quantkit-onnxruntime MODEL FEEDS.npz --folder OUT --result FILE

FEEDS holds one array an input, whose rows are feeds of exactly the model's shape. Seconds are those of the work without
imports; memory is the process's peak.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

Q_DQ_FOR_EACH_CHANNEL = 13  # the first opset with it


class Feeds:
    """The calibration samples, one feed at a time, as onnxruntime's readers and NNCF's data sets want them."""

    def __init__(self, path: Path) -> None:
        import numpy as np

        self._arrays = dict(np.load(path))
        self.count = len(next(iter(self._arrays.values())))
        self._position = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return ({name: rows[i] for name, rows in self._arrays.items()} for i in range(self.count))

    def get_next(self) -> dict[str, Any] | None:
        """Return the next feed; None at the end."""
        self._position += 1
        return next((feed for i, feed in enumerate(self, 1) if i == self._position), None)


def quantkit_for(target: str, model: Path, feeds: Path, folder: Path) -> Path:
    """Calibrate and export to one target, all settings at their defaults."""
    import quantkit

    rows = Feeds(feeds).count
    calibration = quantkit.calibrate(model, feeds, samples=rows, output=folder / "run")
    artifacts = quantkit.export(calibration, target=target, output=folder / "out", precisions=["int8"])
    return artifacts[0].path


def static(method: str, model: Path, feeds: Path, folder: Path) -> Path:
    """onnxruntime's quantize_static: u8 activations, s8 weights per channel, Q/DQ, after its own preprocessing."""
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready, upgraded = folder / "ready.onnx", upgraded_model(model, folder)
    try:
        quant_pre_process(str(upgraded), str(ready), skip_symbolic_shape=True)
    except Exception:  # noqa: BLE001  (it fails on some models; quantize_static takes them as they are)
        ready = upgraded
    with contextlib.chdir(folder):
        quantize_static(
            str(ready),
            str(folder / "model.onnx"),
            Feeds(feeds),  # type: ignore[arg-type]
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[method],
        )
    return folder / "model.onnx"


def nncf_onnx(model: Path, feeds: Path, folder: Path) -> Path:
    """nncf.quantize at its defaults, ONNX in and out."""
    import onnx

    quantized = _nncf(onnx.load(str(upgraded_model(model, folder))), Feeds(feeds))
    onnx.save(quantized, str(folder / "model.onnx"))
    return folder / "model.onnx"


def nncf_openvino(model: Path, feeds: Path, folder: Path) -> Path:
    """nncf.quantize at its defaults, of the model as OpenVINO reads it."""
    import openvino

    quantized = _nncf(openvino.Core().read_model(model), Feeds(feeds))
    openvino.save_model(quantized, folder / "model.xml", compress_to_fp16=False)
    return folder / "model.xml"


def _nncf(model: Any, feeds: Feeds) -> Any:
    os.environ |= {"OPENVINO_TELEMETRY_DISABLED": "1", "NNCF_CI": "1"}  # it sends nothing then
    import nncf

    with contextlib.redirect_stdout(sys.stderr):
        return nncf.quantize(model, nncf.Dataset(list(feeds)), subset_size=feeds.count)


def upgraded_model(model: Path, folder: Path) -> Path:
    """Return a model of an opset that has Q/DQ for each channel, for peers that do not upgrade it themselves."""
    import onnx
    from onnx import version_converter

    proto = onnx.load(str(model))
    if max(entry.version for entry in proto.opset_import if entry.domain == "") >= Q_DQ_FOR_EACH_CHANNEL:
        return model
    onnx.save(version_converter.convert_version(proto, 17), str(folder / "upgraded.onnx"))
    return folder / "upgraded.onnx"


CONTESTANTS: dict[str, Callable[[Path, Path, Path], Path]] = {
    "quantkit-onnxruntime": partial(quantkit_for, "onnxruntime"),
    "onnxruntime-minmax": partial(static, "MinMax"),
    "onnxruntime-percentile": partial(static, "Percentile"),
    "nncf-onnx": nncf_onnx,
    "quantkit-openvino": partial(quantkit_for, "openvino"),
    "nncf-openvino": nncf_openvino,
}


def main() -> None:
    """Run one contestant, and note its file, seconds and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contestant", choices=CONTESTANTS)
    parser.add_argument("model", type=Path)
    parser.add_argument("feeds", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    arguments = parser.parse_args()
    import_peer(arguments.contestant)
    start = time.perf_counter()
    file = CONTESTANTS[arguments.contestant](
        *(p.resolve() for p in (arguments.model, arguments.feeds, arguments.folder))
    )
    seconds = time.perf_counter() - start
    arguments.result.write_text(json.dumps({"file": str(file), "seconds": seconds, "memory_mb": peak_megabytes()}))


def peak_megabytes() -> float:
    """Return the peak of this process alone; ``getrusage`` starts from that of the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) / 1024


def import_peer(contestant: str) -> None:
    """Import what a contestant needs before the clock starts."""
    import onnx  # noqa: F401

    if contestant.startswith("nncf"):
        os.environ |= {"OPENVINO_TELEMETRY_DISABLED": "1", "NNCF_CI": "1"}
        import nncf  # noqa: F401
    elif contestant.startswith("onnxruntime"):
        import onnxruntime.quantization
    else:
        import onnxruntime  # noqa: F401

        import quantkit  # noqa: F401


if __name__ == "__main__":
    main()
