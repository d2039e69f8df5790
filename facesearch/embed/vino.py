"""OpenVINO, imported without its telemetry."""

from __future__ import annotations

import sys
from typing import Any


def load_openvino() -> Any:  # noqa: ANN401 - OpenVINO has no types
    """Import openvino; the package that sends usage figures is kept out of this process for good.

    OpenVINO's conversion imports it and starts sender processes. None in `sys.modules` makes that import
    fail, which OpenVINO takes as "not installed".
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def reason(error: BaseException) -> str:
    """Give the line of an OpenVINO error that says what is wrong; the others are places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
