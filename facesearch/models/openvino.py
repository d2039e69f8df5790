"""OpenVINO: imported without its telemetry, one core for the process, and what it is told of the machine."""

from __future__ import annotations

import errno
import locale
import os
import sys
import threading
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_cache_dir

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRECISIONS = ("f32", "bf16", "f16")

_CONVERSION = "openvino.tools.ovc"
_importing = threading.Lock()


def load_openvino() -> Any:  # noqa: ANN401 - OpenVINO has no types
    """Import openvino, and keep the package that sends usage figures out of this process for good.

    OpenVINO's conversion imports that package and starts sender processes. None in `sys.modules` makes that
    import fail, which OpenVINO treats as "not installed". The conversion itself, half of the import's time,
    is kept out in the same way until it is called.
    """
    with _importing:  # another thread may be half way through it
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
    """Return the only OpenVINO core of this process, which is kept until the process ends.

    A core that has compiled for a CPU installs a stack for signal handlers, and frees it when it is deleted.
    With two cores, the second can leave the first one's stack in use after it was freed: then the next
    Ctrl-C is a segmentation fault.
    """
    with _one_at_a_time:
        return _core()


@lru_cache(1)
def _core() -> Any:  # noqa: ANN401
    return load_openvino().Core()


def _convert_model(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - OpenVINO's own signature
    """Call `openvino.convert_model`, which is imported now."""
    return import_module(_CONVERSION).convert_model(*arguments, **options)


class _KeptLocale:
    """Keeps the process's locale while OpenVINO reads, writes and compiles networks.

    OpenVINO sets the locale to "C" for that, and back. Of two threads that do so at once, one may find "C"
    and leave it: from then on, the whole process would read and write text files as ASCII.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._locale = ""

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._locale = locale.setlocale(locale.LC_ALL)
            self._inside += 1

    def __exit__(self, *about: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and locale.setlocale(locale.LC_ALL) != self._locale:
                locale.setlocale(locale.LC_ALL, self._locale)


_kept_locale = _KeptLocale()


def read_network(source: Path | bytes) -> Any:  # noqa: ANN401
    """Read a network from its file, or from the content of an ONNX file.

    Raises:
        RuntimeError: OpenVINO cannot do it.
    """
    with _kept_locale:
        return openvino_core().read_model(source)


def save_network(openvino: Any, model: Any, path: Path) -> None:  # noqa: ANN401
    """Write a network as .xml and .bin, and check that it can be read again.

    Raises:
        OSError: The files could not be written completely. OpenVINO reports a full disk as "iostream error",
            or not at all; no other cause is known, so the error is that of a full disk.
    """
    try:
        with _kept_locale:
            openvino.save_model(model, path, compress_to_fp16=False)
        read_network(path)
    except RuntimeError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def reason(error: BaseException) -> str:
    """Return the line of an OpenVINO error that says what is wrong; the others name places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__


def precisions(core: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return the precisions that this machine's processor calculates in."""
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("f32", *(name for name, known in (("bf16", "BF16"), ("f16", "FP16")) if known in capabilities))


def use_of_cores(streams: int, threads: int) -> dict[str, str]:
    """Return OpenVINO's settings for the cores of a CPU.

    Args:
        streams: How many calls run at once, each on its share of the cores.
        threads: How many threads are used; 0 for all.
    """
    # Pinned, as is its way, the threads of each process would sit on the same first cores.
    settings = {"ENABLE_CPU_PINNING": "NO"}
    if streams > 1:
        settings["NUM_STREAMS"] = str(streams)
    if threads:
        settings["INFERENCE_NUM_THREADS"] = str(threads)
    return settings


def compile_network(source: Any, device: str, settings: Mapping[str, str], cache: str) -> Any:  # noqa: ANN401
    """Compile a network, or read it from the cache where it was compiled before.

    Args:
        source: The file of the network, or an OpenVINO model.
        device: An OpenVINO device, such as "CPU".
        settings: OpenVINO's settings.
        cache: The folder of the cache; empty for none.

    Raises:
        RuntimeError: OpenVINO cannot do it.
    """
    caches = [{"CACHE_DIR": cache}] if cache else []
    # Without a cache in the end: one that is full or damaged is no reason to fail.
    for where in (*caches, {"CACHE_DIR": ""}):
        try:
            with _kept_locale:
                return openvino_core().compile_model(source, device, {**settings, **where})
        except RuntimeError as error:
            failure = error
    raise failure


def run_first(network: Any, inputs: NDArray[Any]) -> None:  # noqa: ANN401
    """Run a network for the first time, before several threads use it.

    OpenVINO's binding sets some things up in a first inference; two threads that came to that at once could
    wait for each other for ever.
    """
    with _one_at_a_time:
        network.create_infer_request().infer([inputs])


def cache_folder(key: str) -> str:
    """Return the folder of a compiled network, or "" if no folder can be written.

    One entry serves every precision; OpenVINO replaces one of another version or a damaged one.

    Args:
        key: What tells the network's files from others: OpenVINO itself compares only the path and the time.
    """
    folder = Path(user_cache_dir("facesearch", False), "openvino", key)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return ""
    return str(folder) if os.access(folder, os.W_OK) else ""
