"""Which output of a model holds class scores: what the user says, or what is certain.

An output counts as class scores if there is one value for each of two or more classes in a sample, and

- a Softmax computes it, or its name says so ("logits", "probabilities"), and no other output is like that; or
- it is the only floating-point output, the last layer's own, and its name says nothing else ("embedding", "boxes"); or
- the samples are labelled with class indices, and it is the only output of such a shape.

One value a sample behind a sigmoid is a yes or a no, at 0.5. An input that is passed through never counts. All other
outputs are compared with FP32's alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from quantkit.core.errors import BadConfig
from quantkit.graph.graph import Graph, operand
from quantkit.graph.model_io import ModelInput

MOVED_BY = frozenset({"Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
SHARES = frozenset({"LogSoftmax", "Softmax"})
LINEAR = frozenset({"Conv", "Gemm", "MatMul"})
SCORES = re.compile(r"logit|prob|score|class|softmax|label|categor|predict", re.IGNORECASE)
OTHERS = re.compile(
    r"embed|feat|hidden|pool|state|vector|encod|repr|latent|box|landmark|keypoint|coord|angle|depth|offset|pose|regress"
    r"|mask|weight|image|audio",
    re.IGNORECASE,
)
YES_OR_NO = 0.5
HOW_TO_SAY = (
    "If one holds class scores, name it (--task-output, task_output=), and the axis of the classes (--task-axis, "
    "task_axis=); for scores of yes or no, give the threshold (--threshold, threshold=)"
)


@dataclass(frozen=True)
class Decision:
    """Which output decides about answers, and how.

    Attributes:
        output: The name of the output; None means the first.
        axis: The axis of a sample's output, without the batch axis, along which classes lie; None means the only one.
        threshold: The score above which the answer is yes, for outputs that hold a score for each answer; None means
            that the class with the highest score is the answer.
    """

    output: str | None = None
    axis: int | None = None
    threshold: float | None = None

    def __str__(self) -> str:
        name = "the first output" if self.output is None else f"output {self.output}"
        if self.threshold is not None:
            return f"{name} above {self.threshold:g}"
        return f"the best class of {name}" + ("" if self.axis is None else f" along axis {self.axis} of a sample")


def said_decision(
    outputs: Sequence[ModelInput], output: str | None, axis: int | None, threshold: float | None
) -> Decision | None:
    """Return what the user says of the answers.

    Args:
        outputs: The model's outputs.
        output: The output that decides; None means the first, or the only one with scores.
        axis: Its axis along which classes lie, as the model declares it; it may count from the end.
        threshold: The score above which the answer is yes.

    Returns:
        The decision; None if the user says nothing.

    Raises:
        BadConfig: There is no such output or axis, or an axis and a threshold exclude each other.
    """
    if output is None and axis is None and threshold is None:
        return None
    names = [own.name for own in outputs]
    if output is not None and output not in names:
        raise BadConfig(f"The model has no output {output!r}.", f"Its outputs are {', '.join(names)}.")
    if axis is not None and threshold is not None:
        raise BadConfig(
            "Both an axis and a threshold are given.",
            "Give the axis for classes of which one is right, or the threshold for scores of yes or no.",
        )
    own = outputs[0] if output is None else next(one for one in outputs if one.name == output)
    if axis is None:
        return Decision(own.name, None, threshold)
    if not own.shape and axis > 0:  # a shape that is not known
        return Decision(own.name, axis - 1)
    rank = len(own.shape)
    place = axis + rank if axis < 0 else axis
    if not 0 <= place < rank or place == own.batch_axis:
        raise BadConfig(
            f"The output {own.name!r} has no axis {axis} of classes; its shape is {own.shape}.",
            "Give an axis that it has, other than that of the batch.",
        )
    return Decision(own.name, place if own.batch_axis is None or place < own.batch_axis else place - 1)


def certain_decision(outputs: Sequence[ModelInput], graph: Graph | None, labelled: bool) -> Decision | None:
    """Return which output certainly holds answers, by the rules above; None if it is not certain.

    Args:
        outputs: The model's outputs.
        graph: The model's graph; None judges by shapes and names alone.
        labelled: True if the samples are labelled with class indices.

    Returns:
        The decision.
    """
    floats = [own for own in outputs if own.dtype.startswith("float") and not _passed_through(own, graph)]
    scores = [own for own in floats if _scores_classes(own)]
    told = [own for own in scores if _is_told(own, graph)]
    if len(told) == 1:
        return Decision(told[0].name)
    if len(floats) == len(scores) == 1 and not OTHERS.search(scores[0].name):
        last = _last(scores[0], graph)
        if last is None or last in LINEAR:
            return Decision(scores[0].name)
    if labelled and len(scores) == 1:
        return Decision(scores[0].name)
    if labelled and len(floats) == 1 and not floats[0].shape:  # the outputs themselves show if it has classes
        return Decision(floats[0].name)
    answers = [own for own in floats if _is_one_value(own) and _is_sigmoid(own, graph)]
    if len(answers) == 1:
        return Decision(answers[0].name, threshold=YES_OR_NO)
    return None


def _scores_classes(own: ModelInput) -> bool:
    """True if a sample's output is one vector of two or more values."""
    sizes = [size for size in own.sample_shape if size != 1]
    first = len(own.sample_shape) > 0 and own.sample_shape[0] != 1
    if len(own.shape) == 1 and own.batch_axis is not None:  # those of a single sample need no batch dimension
        return isinstance(own.shape[0], int) and own.shape[0] >= 2
    return len(sizes) == 1 and (first or len(own.sample_shape) == 1)


def _is_told(own: ModelInput, graph: Graph | None) -> bool:
    """True if a Softmax or the name says that an output holds class scores."""
    named = SCORES.search(own.name) is not None and OTHERS.search(own.name) is None
    return _last(own, graph) in SHARES or (named and not _is_sigmoid(own, graph))


def _is_one_value(own: ModelInput) -> bool:
    return bool(own.shape) and all(size == 1 for size in own.sample_shape)


def _is_sigmoid(own: ModelInput, graph: Graph | None) -> bool:
    return _last(own, graph) in ("HardSigmoid", "Sigmoid")


def _last(own: ModelInput, graph: Graph | None) -> str | None:
    """Return the operator that computes an output, without what only moves it or adds a bias; None if unknown."""
    if graph is None:
        return None
    name = own.name
    while (node := graph.producer(name)) is not None:
        if node.op_type == "Add":
            products = [other for other in node.input if other not in graph.constants]
            if len(products) != 1:
                return "Add"
            name = products[0]
        elif node.op_type in MOVED_BY:
            name = operand(node, 0)
        else:
            return str(node.op_type)
    return "input"


def _passed_through(own: ModelInput, graph: Graph | None) -> bool:
    """True if an output holds an input's own values."""
    if graph is None:
        return False
    name = own.name
    while (node := graph.producer(name)) is not None and node.op_type in MOVED_BY:
        name = operand(node, 0)
    return graph.producer(name) is None


def checked(decision: Decision, outputs: Sequence[ModelInput]) -> Decision:
    """Return the decision with the name of its output. Raises BadConfig if it needs an axis that is not given."""
    own = next((one for one in outputs if one.name == decision.output), outputs[0])
    known = decision.axis is not None or decision.threshold is not None
    if not known and own.shape and not _scores_classes(own):
        raise BadConfig(
            f"The output {own.name!r} of shape {own.shape} does not show which axis holds classes.",
            "Name it (--task-axis, task_axis=, or [task] axis); for scores of yes or no, give the threshold "
            "(--threshold, threshold=).",
        )
    return replace(decision, output=own.name)
