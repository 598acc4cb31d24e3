"""The linter's findings, and all its rules, worst first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SYMMETRIC = "Quantize symmetrically, to INT8 with zero-point 0."

# The severity of each rule, and how to fix it.
RULES: dict[str, tuple[Severity, str]] = {
    # TensorRT refuses the model, or computes something else.
    "scale-not-positive": ("error", "Give what is always zero a small scale, such as 2^-24."),
    "scale-not-constant": ("error", "Calibrate, and store scales as constants."),
    "scale-count": ("error", "Give a weight one scale, or one for each output channel and the axis that counts them."),
    "half-scale-opset": ("error", "Convert the model to opset 19, or store scales as FP32."),
    "zero-point-not-zero": ("error", SYMMETRIC),
    "type-not-int8": ("error", SYMMETRIC),
    "quantized-bias": ("error", "Leave biases in floating point."),
    "activation-per-channel": ("error", "Quantize activations per tensor."),
    "weight-axis": ("error", "Quantize the weight of a Conv along axis 0, that of a ConvTranspose along axis 1."),
    "unpaired": ("error", "Let every QuantizeLinear feed a DequantizeLinear, and none stand alone."),
    "integer-operator": ("error", "Write the model as Q/DQ pairs around floating-point operators."),
    # The engine builds, but is slower or less exact than it could be.
    "no-zero-point": ("warning", "Give it an INT8 zero-point of 0."),
    "pair-scales-differ": ("warning", "Give a QuantizeLinear and its DequantizeLinear one scale."),
    "weight-axis-summed": ("warning", "Quantize the weight along its output channels."),
    "half-quantized": ("warning", "Put pairs on both operands, or on neither."),
    "clip-behind-float": ("warning", "Write a ReLU in the Clip's place where the pair ends no higher."),
    "unbound-by-split": ("warning", "Write a Gather for each of its parts."),
    "depthwise-to-float": ("warning", "Put a pair behind it and its activation, for all that takes it, or none on it."),
    "pair-inside-fusion": ("warning", "Put the pair behind the activation, normalization or bias."),
    "pair-on-fused-branch": ("warning", "Leave the branch that comes straight from a Conv without a pair."),
    "skip-without-pair": ("warning", "Put a pair on the Add's skip input."),
    "split-attention": ("warning", "Put pairs on both products of an attention, or on neither."),
    "sum-to-float": ("warning", "Put pairs on both inputs of the Add."),
    "pair-on-one-side": ("warning", "Put pairs on all its inputs and its output, or on none."),
    "concat-scales": ("warning", "Give all inputs of a Concat and its output one scale."),
    "requantized": ("warning", "Give both pairs one scale, or leave one pair out."),
    "quantized-twice": ("warning", "Quantize the tensor once, for all its users."),
    "pair-in-normalization": ("warning", "Leave Softmax and the inside of a LayerNorm in floating point."),
    "small-matrix": ("warning", "Leave its pairs out where that measures faster."),
    "pair-on-output": ("warning", "Leave the model's outputs in floating point."),
    # Worth knowing.
    "few-channels": ("note", "Leave its pairs out where that measures faster."),
    "needless-pair": ("note", "Leave out the pair on one side; TensorRT moves the other over the layer."),
    "batch-norm-unfolded": ("note", "Fold it before quantizing where accuracy is wanting."),
    "quantized-port": ("note", "Quantize and dequantize inside the model for FP32 inputs and outputs."),
    "block-quantized": ("note", "For older ones quantize per tensor or per channel."),
    "newer-type": ("note", "Use INT8 for TensorRT 8."),
    "sparse-weights": ("note", "Let TensorRT use it: trtexec --sparsity=enable."),
    "nearly-sparse": ("note", "Prune again behind what changed the weights, if they are meant to be 2:4 sparse."),
    "no-kernel-shape": ("note", "State its kernel_shape for TensorRT 8."),
    "newer-opset": ("note", "For TensorRT 8 export it with opset 13 to 17, and with FP32 scales."),
}


@dataclass(frozen=True)
class Finding:
    """A rule that is broken at one place.

    Attributes:
        rule: The rule.
        nodes: The names of the nodes, the one at fault first; a node without a name has that of its output.
        what: The message.
    """

    rule: str
    nodes: tuple[str, ...]
    what: str

    @property
    def severity(self) -> Severity:
        """How bad it is.

        "error": TensorRT does not accept the model as it is meant; "warning": the model is slower or less exact;
        "note": for information.
        """
        return RULES[self.rule][0]

    @property
    def hint(self) -> str:
        """How to fix it."""
        return RULES[self.rule][1]
