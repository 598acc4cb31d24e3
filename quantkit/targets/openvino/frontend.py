"""Reads ONNX files into OpenVINO."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from quantkit.core.errors import TargetRefuses
from quantkit.core.wording import some
from quantkit.targets.openvino import library


def read_onnx(path: Path) -> Any:
    """Return the ``openvino.Model`` of an ONNX file.

    Raises:
        TargetRefuses: OpenVINO cannot read the file; the message names operators that it cannot convert.
    """
    try:
        return library.core().read_model(str(path))
    except RuntimeError as error:
        unknown = unsupported_operators(str(error))
        if unknown:
            raise TargetRefuses(
                f"OpenVINO has no operator for {some(unknown)}, which {path} uses.",
                "Export the model without it, or leave --target openvino out.",
            ) from error
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = next((line for line in lines if "onnx" in line.lower()), lines[-1] if lines else "no reason given")
        raise TargetRefuses(f"OpenVINO cannot read {path} ({reason[:300]}).", "Leave --target openvino out.") from error


def unsupported_operators(message: str) -> list[str]:
    """Return the operators that an error message of OpenVINO's frontend names, such as "com.acme.Blur"."""
    words = r"(?:No conversion rule found for|does not support the following ONNX) operations?: (.+)"
    found = re.search(words, message)
    return [name.strip() for name in found.group(1).split(",")] if found else []
