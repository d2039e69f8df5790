"""The embedder that runs a stored network on OpenVINO, in the precision that is fastest here.

That is measured once and remembered. What a processor says of itself does not tell: with AMX, bf16 is twice
as fast as f32; with AVX-512 BF16 alone, as many machines in clouds have it, it can be 1.7 times slower.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facesearch.embed import Embedder, check_crops
from facesearch.errors import ModelBroken, ModelError
from facesearch.files import replaced
from facesearch.models.card import NETWORK, Card, check_digest
from facesearch.models.openvino import (
    PRECISIONS,
    cache_folder,
    compile_network,
    load_openvino,
    openvino_core,
    precisions,
    read_network,
    reason,
    run_first,
    use_of_cores,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
            hints = use_of_cores(streams, threads) if device == "CPU" else {}
            if precision:
                hints["INFERENCE_PRECISION_HINT"] = precision
            if cut:
                network = _compile_cut(card, folder, cut, device, hints)
            else:
                network = _compile(card, folder, device, hints)
            # It is the inference that the first call would have to wait for anyway.
            run_first(network, np.zeros((_fixed_batch(network) or 1, *card.size, 3), np.uint8))
            return network

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
        self._batch = _fixed_batch(self._network) or _LARGEST
        self._own = threading.local()

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
    faces = _fixed_batch(networks[names[0]]) or _TIMED
    crops = np.random.default_rng(0).integers(0, 256, (faces, *card.size, 3), np.uint8)
    requests = {name: network.create_infer_request() for name, network in networks.items()}
    timings.measure({name: partial(request.infer, [crops]) for name, request in requests.items()}, faces)
    exact, *others = (np.array(requests[name].get_output_tensor().data) for name in names)
    for name, vectors in zip(names[1:], others, strict=True):
        # What overflows in 16 bits is no vector, however fast it comes.
        if not np.abs(vectors - exact).max() <= _NEAR * np.abs(exact).max():
            timings.seconds[name] = _NEVER
    return timings.fastest, networks[timings.fastest]


def _fixed_batch(network: Any) -> int:  # noqa: ANN401
    """Return how many crops a network takes at once; 0 for any number."""
    batch = network.input().partial_shape[0]
    return 0 if batch.is_dynamic else int(batch.get_length())


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


def _compile(card: Card, folder: Path, device: str, hints: dict[str, str]) -> Any:  # noqa: ANN401
    try:
        return compile_network(folder / NETWORK, device, hints, _cache_folder(card))
    except RuntimeError as error:
        raise ModelBroken(
            f"OpenVINO cannot load the model {card.name}: {reason(error)}.",
            f"Run 'facesearch models verify {card.name}'.",
        ) from error


def _compile_cut(card: Card, folder: Path, cut: Cut, device: str, hints: dict[str, str]) -> Any:  # noqa: ANN401
    try:
        network = cut(load_openvino(), read_network(folder / NETWORK))
        return compile_network(network, device, hints, "")
    except RuntimeError as error:
        raise ModelError(f"OpenVINO cannot cut the model {card.name}: {reason(error)}.") from error


def _cache_folder(card: Card) -> str:
    return cache_folder("-".join(stored.sha256[:16] for _, stored in sorted(card.files.items())))


# So long the networks are timed when one is opened, together.
_SECONDS = 0.2
# After so many rounds a choice is final; after fewer, where the next one takes so many times as long.
_ROUNDS, _FEW, _CLEARLY = 24, 2, 1.3


@dataclass(slots=True)
class Timings:
    """How long a network takes for a face, in each precision, as far as it was measured.

    Attributes:
        machine: What they hold for.
        rounds: How often each was timed.
        seconds: The shortest time of each.
    """

    machine: str
    rounds: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def fastest(self) -> str:
        """The precision with the shortest time; empty where nothing was measured."""
        return min(self.seconds, key=self.seconds.__getitem__, default="")

    def settled(self, precisions: Iterable[str]) -> bool:
        """Return whether the fastest of some precisions is known beyond doubt."""
        if set(precisions) != set(self.seconds):
            return False
        first, *others = sorted(self.seconds.values())
        clear = self.rounds >= _FEW and all(other >= _CLEARLY * first for other in others[:1])
        return clear or self.rounds >= _ROUNDS

    def measure(self, runs: Mapping[str, Callable[[], object]], faces: int) -> None:
        """Time networks in turn, so that what else the machine does slows all of them.

        Args:
            runs: By precision, what runs the network once.
            faces: How many faces that are.
        """
        if set(runs) != set(self.seconds):
            self.rounds, self.seconds = 0, {}
        for run in runs.values():
            run()  # the first run of a network prepares it
        ends = time.perf_counter() + _SECONDS
        while self.rounds < _ROUNDS:
            for name, run in runs.items():
                began = time.perf_counter()
                run()
                taken = (time.perf_counter() - began) / faces
                self.seconds[name] = min(taken, self.seconds.get(name, taken))
            self.rounds += 1
            if time.perf_counter() >= ends:
                return


def read_timings(file: Path | None, machine: str) -> Timings:
    """Return what was measured on a machine; nothing where that is not known."""
    try:
        raw = json.loads(file.read_bytes()) if file is not None else {}
        seconds = {str(name): float(value) for name, value in raw["seconds"].items()}
        if raw["machine"] == machine and all(value > 0 for value in seconds.values()):
            return Timings(machine, int(raw["rounds"]), seconds)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # it can be measured again
    return Timings(machine)


def write_timings(file: Path | None, timings: Timings) -> None:
    """Remember what was measured, where that can be."""
    if file is None:
        return
    with suppress(OSError), replaced(file, durable=False) as out:
        out.write(json.dumps(asdict(timings)).encode())
