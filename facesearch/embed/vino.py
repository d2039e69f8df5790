"""OpenVINO, imported without its telemetry."""

from __future__ import annotations

import errno
import os
import sys
import threading
from functools import lru_cache
from importlib import import_module
from pathlib import Path
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


_one_at_a_time = threading.Lock()


def openvino_core() -> Any:  # noqa: ANN401
    """Give the process' one OpenVINO core, which stays until its end.

    A core that has compiled for a CPU gives signals a stack of their own, and takes it away when it is
    removed. Of two, the second can leave the first one's behind when that is gone: the next Ctrl-C, as Python
    handles it on that stack, is a segmentation fault.
    """
    with _one_at_a_time:
        return _core()


@lru_cache(1)
def _core() -> Any:  # noqa: ANN401
    return load_openvino().Core()


def _convert_model(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - OpenVINO's own signature
    """Do what `openvino.convert_model` does."""
    return import_module(_CONVERSION).convert_model(*arguments, **options)


def save_network(openvino: Any, model: Any, path: Path) -> None:  # noqa: ANN401
    """Write a network as .xml and .bin, and see that it can be read again.

    Raises:
        OSError: It could not be written whole. OpenVINO says of a full disk no more than "iostream error",
            or nothing; there is no other known cause, so it is called a full disk.
    """
    try:
        openvino.save_model(model, path, compress_to_fp16=False)
        openvino_core().read_model(path)
    except RuntimeError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def reason(error: BaseException) -> str:
    """Give the line of an OpenVINO error that says what is wrong; the others are places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
