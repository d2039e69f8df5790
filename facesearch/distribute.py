"""The pipeline on Ray: workers process photos, on this machine or on many; one process writes the index.

Each worker has at most a few waiting batches, and no more are handed out than come back, so that memory is
bounded on every machine. Ray restarts a worker that dies, and its batch is processed once more; a photo at
which workers die each time is unreadable.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from facesearch.errors import FacesearchError
from facesearch.faces import FileState, PhotoFaces, Status
from facesearch.index.meta import Meta
from facesearch.model import Model, Runtime
from facesearch.models.store import ModelStore
from facesearch.pipeline import NOTHING, Known

BATCH = 32  # photos that a worker is handed at once
WAITING = 3  # batches for each worker, the one that it is at included
RETRIES = 3

LOCAL = "ray"


@dataclass(frozen=True)
class RayPipeline:
    """Does what `Pipeline` does, on the workers of a Ray cluster.

    Attributes:
        model: The workers use its name and runtime, and on this machine also its store.
        meta: The settings that make the index.
        address: "ray" for a cluster on this machine that ends with the run; "ray://HEAD:10001" for an
            existing one.
    """

    model: Model
    meta: Meta
    address: str = LOCAL

    def run(self, paths: Iterable[str], *, known: Known = NOTHING) -> Iterator[PhotoFaces]:
        """Process photos; see `Pipeline.run`.

        Raises:
            FacesearchError: There is no such cluster, or no worker can open the model.
        """
        ray = _load_ray()
        _connect(ray, self.address)
        try:
            workers = self._start(ray)
            digests = ray.put(dict(known))
            yield from _looked_at(ray, workers, paths, digests)
        finally:
            ray.shutdown()

    def _start(self, ray: Any) -> list[Any]:  # noqa: ANN401 (Ray's own types)
        """Start one worker per core, or per GPU if the runtime uses one."""
        resources = ray.cluster_resources()
        runtime = self.model.runtime
        gpus = int(resources.get("GPU", 0)) if runtime.runtime == "tensorflow" else 0
        cores = max(1, runtime.jobs)
        count = gpus or max(1, math.floor(resources.get("CPU", 1) / cores))
        one = ray.remote(
            num_cpus=0 if gpus else cores,
            num_gpus=1 if gpus else 0,
            max_restarts=-1,
            max_task_retries=RETRIES,
        )(Worker)
        # Elsewhere each machine has its own store, in its own place.
        models = os.fspath(self.model.store.root) if self.address == LOCAL else None
        runtime = replace(runtime, jobs=cores)
        return [one.remote(self.model.name, models, runtime, self.meta) for _ in range(count)]


def _looked_at(ray: Any, workers: Sequence[Any], paths: Iterable[str], known: Any) -> Iterator[PhotoFaces]:  # noqa: ANN401
    """Hand batches to workers in turn, and yield the results in the order of the photos."""
    rest = iter(paths)
    batches = iter(lambda: list(islice(rest, BATCH)), [])
    under_way: deque[tuple[list[str], Any]] = deque()
    turn = 0
    while True:
        for batch in islice(batches, WAITING * len(workers) - len(under_way)):
            under_way.append((batch, workers[turn % len(workers)].look.remote(batch, known)))
            turn += 1
        if not under_way:
            return
        batch, looking = under_way.popleft()
        yield from _result(ray, workers, batch, looking, known)


def _result(
    ray: Any,  # noqa: ANN401
    workers: Sequence[Any],
    batch: Sequence[str],
    looking: Any,  # noqa: ANN401
    known: Any,  # noqa: ANN401
) -> Iterator[PhotoFaces]:
    """Yield the photos of a batch; if workers died of it, each of its photos is processed alone."""
    try:
        yield from ray.get(looking)
    except ray.exceptions.RayTaskError as error:
        raise _of_worker(error.cause) from error
    except ray.exceptions.RayActorError as error:
        if isinstance(cause := getattr(error, "cause", None), FacesearchError):
            raise cause from error
        if "creation task" in str(error):
            raise FacesearchError(
                "No worker could be started.", "Look whether facesearch is installed where the workers run."
            ) from error
        if len(batch) == 1:
            yield PhotoFaces(
                batch[0], FileState(0, -1), Status.UNREADABLE, reason="Workers died looking at it."
            )
            return
        for number, path in enumerate(batch):
            alone = workers[number % len(workers)].look.remote([path], known)
            yield from _result(ray, workers, [path], alone, known)


def _of_worker(cause: BaseException) -> FacesearchError:
    if isinstance(cause, FacesearchError):
        return cause
    return FacesearchError(f"A worker failed: {type(cause).__name__}: {cause}")


def _load_ray() -> Any:  # noqa: ANN401
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Clusters ask for a token, which a client shows only when it is told to.
    if _token().exists() or {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError as error:
        raise FacesearchError(
            "`--on ray` needs Ray, which is not installed.",
            "In a checkout of facesearch, run: pip install '.[ray]'",
        ) from error
    # Ray would say on stdout, where scripts read, what becomes of workers.
    ray._private.worker._worker_logs_enabled = False
    return ray


def _token() -> Path:
    """Return the file in which Ray keeps its token; looked up only when Ray is used."""
    return Path.home() / ".ray" / "auth_token"


def _connect(ray: Any, address: str) -> None:  # noqa: ANN401
    """Start a cluster on this machine, or connect to an existing one."""
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address == LOCAL:
            # One of its own, also where another is or was; nothing of it need be reached from elsewhere.
            # The store holds a few batches, no more.
            own = {"_node_ip_address": "127.0.0.1", "include_dashboard": False, **quiet}
            # A busy machine may start it too slowly for Ray's taste, which is then a bare Exception.
            _try_to_connect(ray, Exception, "local", object_store_memory=256 << 20, **own)
        else:
            # A head may fail to start what serves this client.
            _try_to_connect(ray, ConnectionAbortedError, address, **quiet)
    except Exception as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        if address == LOCAL:
            raise FacesearchError(
                f"Ray does not start on this machine: {reason}.",
                "Run the same command again, or without --on.",
            ) from error
        raise FacesearchError(
            f"There is no Ray cluster to be had at {address!r}: {reason}.",
            "Look whether it runs (`ray status` on its head), and whether RAY_AUTH_TOKEN is its token.",
        ) from error


def _try_to_connect(ray: Any, passing: type[Exception], address: str, **options: Any) -> None:  # noqa: ANN401
    """Connect, and try again if the failure may pass."""
    for left in reversed(range(RETRIES)):
        try:
            ray.init(address, **options)
        except passing:
            ray.shutdown()
            if not left:
                raise
        else:
            return


class Worker:
    """Ray actor that processes photos with a model, which it opens once and fetches where it is missing.

    Args:
        model: The model's name.
        models: The folder of the model store; None for the worker's own.
        runtime: How the network is run.
        meta: The settings that make the index.
    """

    def __init__(self, model: str, models: str | None, runtime: Runtime, meta: Meta) -> None:
        store = ModelStore(Path(models)) if models is not None else ModelStore()
        self._pipeline = Model(model, store, runtime).pipeline(meta, few=runtime.jobs == 1)

    def look(self, paths: Sequence[str], known: Known) -> list[PhotoFaces]:
        """Process some photos; see `Pipeline.run`."""
        # Beside another worker on each other core, threads would only wait for each other.
        run = self._pipeline.run_in_turn if self._pipeline.jobs == 1 else self._pipeline.run
        return list(run(paths, known=known))
