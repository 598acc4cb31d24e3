"""An INT8 engine as a team with a TensorRT calibrator builds it, without quantkit's builder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from quantkit.core.calibration import Calibration
from quantkit.formats.tensorrt_cache import MINMAX
from quantkit.graph.model_file import open_model
from quantkit.targets.tensorrt.engine.libraries import TENSORRT
from quantkit.targets.tensorrt.engine.network import parsed
from quantkit.targets.tensorrt.engine.shapes import profiles_for


def engine_of_a_calibrator(
    calibration: Calibration, algorithm: str, cache: str, level: int = 3, half: bool = False, timing: bytes = b""
) -> tuple[Any, list[int]]:
    """The serialized engine of a calibrator that has a cache and no data; and how often it was asked for a batch.

    ``timing`` is a timing cache to start with.
    """
    trt = TENSORRT.tensorrt()
    base = trt.IInt8MinMaxCalibrator if algorithm == MINMAX else trt.IInt8EntropyCalibrator2
    asked: list[int] = []

    class Calibrator(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            base.__init__(self)

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: list[str]) -> None:
            asked.append(1)  # no more data

        def read_calibration_cache(self) -> bytes:
            return cache.encode()

        def write_calibration_cache(self, cache: bytes) -> None:
            pass

    model = open_model(Path(calibration.model.path))
    builder = trt.Builder(TENSORRT.messages())
    network, parser = parsed(builder, model.path, strong=False)
    config = builder.create_builder_config()
    config.set_flag(trt.BuilderFlag.INT8)
    if half:
        config.set_flag(trt.BuilderFlag.FP16)
    config.set_timing_cache(config.create_timing_cache(timing), False)
    config.builder_optimization_level = level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    profile = builder.create_optimization_profile()
    for name, shapes in profiles_for(model, [], [1])[0].items():
        profile.set_shape(name, shapes.least, shapes.best, shapes.largest)
    config.add_optimization_profile(profile)
    config.set_calibration_profile(profile)
    calibrator = Calibrator()
    config.int8_calibrator = calibrator
    plan = builder.build_serialized_network(network, config)
    del parser
    return plan, asked
