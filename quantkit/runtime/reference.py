"""A model as onnxruntime computes it, which others are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from quantkit.core.errors import BadModel
from quantkit.graph.model_file import ModelFile, read_graph
from quantkit.runtime.out_of_reach import OutOfReach, computable, out_of_reach
from quantkit.runtime.session import cpu_session, failed_on


class ReferenceSession:
    """A model as onnxruntime computes it, such as the user's own, whose outputs others are compared with.

    Of a model with operators that onnxruntime does not have, it computes the part in front of them. Its outputs are
    then those that do not need such operators, and what is given to the rest.

    Args:
        path: The model; its nodes are in order.
        optimized: False computes node by node as the graph says.

    Raises:
        BadModel: onnxruntime cannot load it.
    """

    executed_precision = "f32"

    def __init__(self, path: Path, optimized: bool = True) -> None:
        try:
            self._session = cpu_session(path, optimized=optimized)
        except BadModel:
            out = OutOfReach(read_graph(path))
            if not out.nodes or not (out.given or out.outputs):
                raise
            self._session = cpu_session(computable(path, out, given_too=True), path.parent, optimized=optimized)
        self._outputs = [output.name for output in self._session.get_outputs()]

    @classmethod
    def of(cls, model: ModelFile) -> ReferenceSession:
        """Load the user's own file, or its normal form where onnxruntime cannot compute all of the file.

        Raises:
            BadModel: onnxruntime can load neither.
        """
        if out_of_reach(model.graph_only, model.source).nodes:
            return cls(model.source)  # tensors have the names that they have in what is made of the model
        try:
            return cls(model.path)
        except BadModel:  # such as an FP64 model, for which onnxruntime has no kernels
            if model.rewritten is None:
                raise
            return cls(model.source)

    def infer(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Run one batch; return the outputs by name. Raises BadModel if the model fails on it."""
        try:
            return dict(zip(self._outputs, self._session.run(None, dict(inputs)), strict=True))
        except Exception as error:
            raise failed_on(inputs, error, "Check the data against the model.") from error
