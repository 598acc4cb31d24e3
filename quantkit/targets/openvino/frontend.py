"""Reads ONNX files into OpenVINO."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import onnx

from quantkit.core.errors import TargetRefuses
from quantkit.core.wording import some
from quantkit.targets.openvino import library
from quantkit.targets.parsing import Fault, Parsing, refused_operators

WITHOUT = (
    "Load an extension that implements it (openvino.Core.add_extension), export the model without it, or leave "
    "the target openvino out."
)


def read_onnx(path: Path, users: Path) -> Any:
    """Return the ``openvino.Model`` of an ONNX file.

    Args:
        path: The file.
        users: The user's model, which errors name: the file may be a temporary one that was made from it.

    Raises:
        TargetRefuses: OpenVINO cannot read the file; the message names operators that it cannot convert.
    """
    try:
        return library.core().read_model(str(path))
    except RuntimeError as error:
        unknown = unsupported_operators(str(error))
        if unknown:
            raise TargetRefuses(
                f"OpenVINO has no operator for {some(unknown)}, which {users} uses.",
                "Export the model without it, or leave the target openvino out.",
            ) from error
        raise TargetRefuses(
            f"OpenVINO cannot read {users} ({_reason(error)}).", "Leave the target openvino out."
        ) from error


def parsing_of(path: Path, proto: onnx.ModelProto) -> Parsing:
    """Read an ONNX file, and name all operators that OpenVINO cannot convert.

    Args:
        path: The file.
        proto: The model in it, without external data.
    """
    state = library.availability()
    if not state.works:
        return Parsing("OpenVINO", unchecked=state.reason, hint=state.hint)
    parser = f"OpenVINO {state.version}"
    try:
        library.core().read_model(str(path))
    except RuntimeError as error:
        # The frontend adds the opset to an operator of ONNX's own: "Det-17".
        unknown = [re.sub(r"-\d+$", "", name) for name in unsupported_operators(str(error))]
        if unknown:
            return Parsing(parser, refused_operators(proto, unknown, "OpenVINO", WITHOUT))
        return Parsing(parser, (Fault("", (), f"OpenVINO says: {_reason(error)}", "Leave the target openvino out."),))
    return Parsing(parser)


def _reason(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "onnx" in line.lower()), lines[-1] if lines else "no reason given")[:300]


def unsupported_operators(message: str) -> list[str]:
    """Return the operators that an error message of OpenVINO's frontend names, such as "com.acme.Blur"."""
    words = r"(?:No conversion rule found for|does not support the following ONNX) operations?: (.+)"
    found = re.search(words, message)
    return [name.strip() for name in found.group(1).split(",")] if found else []
