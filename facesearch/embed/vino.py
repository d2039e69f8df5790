"""OpenVINO, imported without its telemetry."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

_CONVERSION = "openvino.tools.ovc"


def load_openvino() -> Any:  # noqa: ANN401 - OpenVINO has no types
    """Import openvino; the package that sends usage figures is kept out of this process for good.

    OpenVINO's conversion imports it and starts sender processes. None in `sys.modules` makes that import
    fail, which OpenVINO takes as "not installed". The conversion itself, half of the import's time, is
    kept out in the same way until someone calls it.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    sys.modules[_CONVERSION] = None  # type: ignore[assignment]
    try:
        import openvino
    finally:
        del sys.modules[_CONVERSION]
    openvino.convert_model = _convert_model
    return openvino


def _convert_model(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - OpenVINO's own signature
    """Do what `openvino.convert_model` does."""
    return import_module(_CONVERSION).convert_model(*arguments, **options)


def reason(error: BaseException) -> str:
    """Give the line of an OpenVINO error that says what is wrong; the others are places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
