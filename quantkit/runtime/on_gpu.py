"""Computes every float activation of a model on a GPU, and leaves them there."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort

from quantkit.core.cuda import OnGpu
from quantkit.runtime.activations import ActivationSession, Inputs
from quantkit.runtime.session import failed_on

DEVICE = "cuda"


class GpuRunner:
    """Runs an :class:`~quantkit.runtime.activations.ActivationSession` that was loaded on a GPU.

    Args:
        session: The session.
        number: The number of its GPU.
    """

    def __init__(self, session: ActivationSession, number: int) -> None:
        self.clamps = session.clamps
        self._session, self._number = session, number
        self._binding = session.session.io_binding()
        self._values: list[Any] = []  # keeps the memory of the latest run

    def run(self, inputs: Inputs) -> dict[str, OnGpu]:
        """Run one batch.

        Args:
            inputs: The arrays of the batch, by input.

        Returns:
            All activations except the session's clamps, in memory that the next run uses again.

        Raises:
            BadModel: The model fails on the batch.
        """
        given = {name: np.asarray(array, order="C") for name, array in inputs.items()}
        values = {name: ort.OrtValue.ortvalue_from_numpy(array, DEVICE, self._number) for name, array in given.items()}
        self._values = []
        found: dict[str, Any] = {}
        if self._session.fetched:
            self._binding.clear_binding_inputs()
            self._binding.clear_binding_outputs()
            for name, value in values.items():
                self._binding.bind_ortvalue_input(name, value)
            for name in self._session.fetched:
                self._binding.bind_output(name, DEVICE, self._number)
            try:
                self._session.session.run_with_iobinding(self._binding)
            except Exception as error:
                hint = "Check the preprocessing size and layout against the model."
                raise failed_on(inputs, error, hint) from error
            found = dict(zip(self._session.fetched, self._binding.get_outputs(), strict=True))
        named = {name: values[name] for name in self._session.float_inputs} | found
        whole = {name: self._single(value) for name, value in named.items()}
        self._values = list(whole.values())
        return {name: OnGpu(value.data_ptr(), tuple(value.shape())) for name, value in whole.items()}

    def _single(self, value: Any) -> Any:
        """Return a tensor in float32."""
        if value.data_type() == "tensor(float)":
            return value
        return ort.OrtValue.ortvalue_from_numpy(value.numpy().astype(np.float32), DEVICE, self._number)
