"""OpenVINO: imported without its telemetry, and the embedder that runs a stored network on it."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
import threading
from collections.abc import Callable
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from platformdirs import user_cache_dir

from facesearch.embed import Embedder, check_crops
from facesearch.embed.precision import PRECISIONS, Timings, read_timings, write_timings
from facesearch.errors import ModelBroken, ModelError
from facesearch.models.card import NETWORK, Card, check_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray


_CONVERSION = "openvino.tools.ovc"


def load_openvino() -> Any:  # noqa: ANN401 - OpenVINO has no types
    """Import openvino, and keep the package that sends usage figures out of this process for good.

    OpenVINO's conversion imports that package and starts sender processes. None in `sys.modules` makes that
    import fail, which OpenVINO treats as "not installed". The conversion itself, half of the import's time,
    is kept out in the same way until it is called.
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


def save_network(openvino: Any, model: Any, path: Path) -> None:  # noqa: ANN401
    """Write a network as .xml and .bin, and check that it can be read again.

    Raises:
        OSError: The files could not be written completely. OpenVINO reports a full disk as "iostream error",
            or not at all; no other cause is known, so the error is that of a full disk.
    """
    try:
        openvino.save_model(model, path, compress_to_fp16=False)
        openvino_core().read_model(path)
    except RuntimeError as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error


def reason(error: BaseException) -> str:
    """Return the line of an OpenVINO error that says what is wrong; the others name places in its source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__


# Makes another network from a stored one: called with openvino and the model, it returns a model.
Cut = Callable[[Any, Any], Any]

# The most crops in one inference, so that a call with thousands does not hold all their features at once.
_LARGEST = 64
# Crops in an inference that is timed.
_TIMED = 2
# How far a number of a vector may be from that of f32, as a share of the largest one; and what stands for the
# seconds of a precision in which they are farther.
_NEAR, _NEVER = 0.1, 1e9


class OpenVinoEmbedder(Embedder):
    """A stored network that OpenVINO runs.

    Args:
        card: The model's card, as it was stored.
        folder: The model's folder.
        precision: "auto", "f32", "bf16" or "f16".
        usual: What "auto" is where a CPU has it; empty for the precision that is measured to be fastest.
        device: An OpenVINO device, such as "CPU".
        streams: How many calls run at once on a CPU, each on its share of the cores.
        threads: How many threads of a CPU are used; 0 for all.
        cut: Makes the network that is run from the stored one; the card's dim is then that of the new one.

    Raises:
        ModelBroken: The network's files are not what the card says.
        ModelError: The device or the precision is not available.
    """

    def __init__(
        self,
        card: Card,
        folder: Path,
        *,
        precision: str = "auto",
        usual: str = "",
        device: str = "CPU",
        streams: int = 1,
        threads: int = 0,
        cut: Cut | None = None,
    ) -> None:
        self.card = card
        _check_xml(card, folder)
        core = openvino_core()
        _check_device(core, device)
        _check_precision(core, device, precision)

        def compiled(precision: str) -> Any:  # noqa: ANN401 - OpenVINO has no types
            hints = _use_of_cores(streams, threads) if device == "CPU" else {}
            if precision:
                hints["INFERENCE_PRECISION_HINT"] = precision
            if cut:
                return _compile_cut(core, card, folder, cut, device, hints)
            return _compile(core, card, folder, device, hints)

        if precision != "auto":
            self.precision, self._network = precision, compiled(precision)
        elif device != "CPU":
            self.precision, self._network = "", compiled("")  # the device chooses
        elif usual in precisions(core):
            self.precision, self._network = usual, compiled(usual)
        else:
            timings = Timings("") if cut else timings_of(card)
            known = timings.settled(precisions(core))
            self.precision, self._network = fastest_network(core, card, compiled, timings)
            if timings.seconds and not (known or cut):  # measured just now
                write_timings(_timings_file(card), timings)
        batch = self._network.input().partial_shape[0]
        self._batch = _LARGEST if batch.is_dynamic else int(batch.get_length())
        self._own = threading.local()
        # OpenVINO's binding sets some things up in a first inference; two threads that came to that at once
        # would wait for each other for ever. It is the one that the first call would have to wait for anyway.
        self.embed(np.zeros((1, *card.size, 3), np.uint8))

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the vector of each crop; see `Embedder.embed`."""
        check_crops(crops, self.card)
        vectors = np.empty((len(crops), self.card.dim), np.float32)
        request = self._request()
        for start in range(0, len(crops), self._batch):
            block = np.ascontiguousarray(crops[start : start + self._batch])
            request.infer([block], share_inputs=True)
            vectors[start : start + len(block)] = request.get_output_tensor().data
        return vectors

    def _request(self) -> Any:  # noqa: ANN401 - OpenVINO has no types
        # A request serves one thread at a time; the compiled network is shared.
        if not hasattr(self._own, "request"):
            self._own.request = self._network.create_infer_request()
        return self._own.request


def _check_xml(card: Card, folder: Path) -> None:
    # The network's graph is small and is checked each time; its weights only by 'models verify'.
    try:
        check_digest(folder / NETWORK, f"sha256:{card.files[NETWORK].sha256}")
    except ModelBroken as error:
        raise ModelBroken(
            f"The model {card.name} is broken: {NETWORK} has been changed or damaged.",
            f"Run 'facesearch models fetch {card.name}' to fetch it again, or import it again.",
        ) from error


def _check_device(core: Any, device: str) -> None:  # noqa: ANN401
    known = core.available_devices
    if device.partition(".")[0].partition(":")[0] not in {*known, "AUTO"}:
        raise ModelError(f"OpenVINO has no device {device} here.", f"It has: {', '.join(known)}.")


def precisions(core: Any) -> tuple[str, ...]:  # noqa: ANN401
    """Return the precisions that this machine's processor calculates in."""
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("f32", *(name for name, known in (("bf16", "BF16"), ("f16", "FP16")) if known in capabilities))


def _check_precision(core: Any, device: str, precision: str) -> None:  # noqa: ANN401
    if precision not in ("auto", *PRECISIONS):
        raise ModelError(f"There is no precision {precision!r}.", "Use auto, f32, bf16 or f16.")
    known = precisions(core) if device == "CPU" else ("f32",)
    if precision not in ("auto", *known):
        raise ModelError(
            f"The device {device} does not calculate in {precision}.", "Use --precision auto or f32."
        )


def fastest_network(
    core: Any,  # noqa: ANN401 - OpenVINO has no types
    card: Card,
    compiled: Callable[[str], Any],
    timings: Timings,
) -> tuple[str, Any]:
    """Return the precision in which a CPU runs a network fastest, and the network in it."""
    names = precisions(core)
    if len(names) == 1 or timings.settled(names):
        name = timings.fastest or names[0]
        return name, compiled(name)
    networks = {name: compiled(name) for name in names}
    batch = networks[names[0]].input().partial_shape[0]
    faces = _TIMED if batch.is_dynamic else int(batch.get_length())
    crops = np.random.default_rng(0).integers(0, 256, (faces, *card.size, 3), np.uint8)
    requests = {name: network.create_infer_request() for name, network in networks.items()}
    timings.measure({name: partial(request.infer, [crops]) for name, request in requests.items()}, faces)
    exact, *others = (np.array(requests[name].get_output_tensor().data) for name in names)
    for name, vectors in zip(names[1:], others, strict=True):
        # What overflows in 16 bits is no vector, however fast it comes.
        if not np.abs(vectors - exact).max() <= _NEAR * np.abs(exact).max():
            timings.seconds[name] = _NEVER
    return timings.fastest, networks[timings.fastest]


def timings_of(card: Card) -> Timings:
    """Return how fast this machine runs a network in each precision, as far as that was measured."""
    return read_timings(_timings_file(card), _machine())


def _timings_file(card: Card) -> Path | None:
    folder = _cache_folder(card)
    return Path(folder, "precision.json") if folder else None


@lru_cache(1)
def _machine() -> str:
    """Return what the speed of a network depends on: processor, its instructions, OpenVINO's version."""
    core = openvino_core()
    try:
        told = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:  # not on Linux: the name has to do
        told = ""
    flags = next((line for line in told.splitlines() if line.startswith(("flags", "Features"))), "")
    name = core.get_property("CPU", "FULL_DEVICE_NAME")
    return (
        f"{name}, OpenVINO {load_openvino().__version__}, {hashlib.sha256(flags.encode()).hexdigest()[:16]}"
    )


def _use_of_cores(streams: int, threads: int) -> dict[str, str]:
    """Return OpenVINO's settings for the cores of a CPU."""
    # Pinned, as is its way, the threads of each process would sit on the same first cores.
    settings = {"ENABLE_CPU_PINNING": "NO"}
    if streams > 1:
        settings["NUM_STREAMS"] = str(streams)
    if threads:
        settings["INFERENCE_NUM_THREADS"] = str(threads)
    return settings


def _compile(core: Any, card: Card, folder: Path, device: str, hints: dict[str, str]) -> Any:  # noqa: ANN401
    caches = [{"CACHE_DIR": cache}] if (cache := _cache_folder(card)) else []
    # Without a cache in the end: one that is full or damaged is no reason to fail.
    for settings in (*caches, {"CACHE_DIR": ""}):
        try:
            return core.compile_model(folder / NETWORK, device, {**hints, **settings})
        except RuntimeError as error:
            failure = error
    raise ModelBroken(
        f"OpenVINO cannot load the model {card.name}: {reason(failure)}.",
        f"Run 'facesearch models verify {card.name}'.",
    ) from failure


def _compile_cut(core: Any, card: Card, folder: Path, cut: Cut, device: str, hints: dict[str, str]) -> Any:  # noqa: ANN401
    try:
        network = cut(load_openvino(), core.read_model(folder / NETWORK))
        return core.compile_model(network, device, hints)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot cut the model {card.name}: {reason(error)}.") from error


def _cache_folder(card: Card) -> str:
    """Return the folder of the compiled network, or "" if no folder can be written.

    The folder is named after the files' digests: OpenVINO itself compares only the .xml's path and time. One
    entry serves every precision; OpenVINO replaces one of another version or a damaged one.
    """
    key = "-".join(stored.sha256[:16] for _, stored in sorted(card.files.items()))
    folder = Path(user_cache_dir("facesearch", False), "openvino", key)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return ""
    return str(folder) if os.access(folder, os.W_OK) else ""
