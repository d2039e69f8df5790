import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facesearch.embed import MODELS, card_of, fetch_model, open_embedder
from facesearch.embed.foreign import OWN_SIZE, import_model
from facesearch.errors import ModelBroken, ModelError, UnknownModel
from facesearch.models.card import NETWORK, WEIGHTS, Card
from facesearch.models.store import ModelStore

PICTURES = np.random.default_rng(7).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def store(tmp_path, mean_network, monkeypatch):
    """A store with a small network in it, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = ModelStore(tmp_path / "models")
    card = Card(name="mine", dim=1, size=OWN_SIZE, margin=0.2, detector="haar")
    import_model(mean_network(tmp_path / "n.xml", [-1, 3, 8, 8]), card, store)
    return store


def embed(store, **settings):
    return open_embedder("mine", store=store, **settings).embed(PICTURES)


def cached(tmp_path):
    return sorted((tmp_path / "cache").rglob("*.blob"))


WANTED = PICTURES.astype(np.float64).mean(axis=(1, 2))


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_weights_that_are_not_whole_are_a_broken_model(damage, store):
    path = store.path("mine") / WEIGHTS
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(ModelBroken, match=r"The model mine is broken: network\.bin") as raised:
        open_embedder("mine", store=store)
    assert "models fetch mine" in raised.value.hint


def test_a_changed_graph_is_a_broken_model(store):
    path = store.path("mine") / NETWORK
    path.write_bytes(path.read_bytes().replace(b"Multiply", b"multiply"))

    with pytest.raises(ModelBroken, match=r"network\.xml has been changed or damaged"):
        open_embedder("mine", store=store)


def test_the_compiled_network_is_kept_and_used_again(store, tmp_path):
    first = embed(store, precision="f32")
    [kept] = cached(tmp_path)
    written = kept.stat().st_mtime_ns

    again = embed(store, precision="f32")

    np.testing.assert_array_equal(again, first)
    assert [path.stat().st_mtime_ns for path in cached(tmp_path)] == [written]


@pytest.mark.slow
def test_one_cache_serves_each_precision_with_its_own_result(model_store, crops, tmp_path, monkeypatch):
    results = {}
    for order in (("auto", "f32"), ("f32", "auto")):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / order[0]))
        for precision in order:
            embedder = open_embedder("resnet50", store=model_store, precision=precision)
            results[order[0], precision] = embedder.embed(crops[:1])

    for precision in ("f32", "auto"):
        np.testing.assert_array_equal(results["f32", precision], results["auto", precision])


@pytest.mark.slow
def test_the_number_of_streams_does_not_change_the_result(model_store, crops):
    one, two = (
        open_embedder("resnet50", store=model_store, precision="f32", streams=streams).embed(crops[:2])
        for streams in (1, 2)
    )

    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4 * np.abs(one).max())


class Counted:
    """A request that notes how many crops each inference had."""

    def __init__(self, request):
        self._request, self.sizes = request, []

    def infer(self, inputs, **how):
        self.sizes.append(len(inputs[0]))
        return self._request.infer(inputs, **how)

    def get_output_tensor(self):
        return self._request.get_output_tensor()


@pytest.mark.parametrize(
    ("ending", "count", "sizes"),
    [("map", 1, [1]), ("map", 16, [16]), ("map", 40, [40]), ("map", 150, [64, 64, 22]),
     ("fixed batch", 3, [1, 1, 1])],
)  # fmt: skip
def test_a_call_is_one_inference_unless_it_is_very_large(
    ending, count, sizes, tmp_path, mean_network, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = ModelStore(tmp_path / "models")
    card = Card(name="mine", dim=1, size=OWN_SIZE, margin=0.2, detector="haar")
    import_model(
        mean_network(tmp_path / "n.xml", [1 if ending != "map" else -1, 3, 8, 8], ending), card, store
    )
    embedder = open_embedder("mine", store=store, precision="f32")
    request = Counted(embedder._request())
    monkeypatch.setattr(embedder, "_request", lambda: request)
    pictures = np.random.default_rng(8).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)

    np.testing.assert_allclose(embedder.embed(pictures), pictures.mean(axis=(1, 2)), rtol=1e-5)
    assert request.sizes == sizes


@pytest.mark.parametrize("content", [b"", b"no blob", None])
def test_a_damaged_cache_is_no_error(content, store, tmp_path):
    embed(store, precision="f32")
    [kept] = cached(tmp_path)
    whole = kept.read_bytes()
    kept.chmod(0o600)
    kept.write_bytes(whole[: len(whole) // 2] if content is None else content)

    np.testing.assert_allclose(embed(store, precision="f32"), WANTED, rtol=1e-5)


def test_a_cache_that_cannot_be_written_is_no_error(store, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder would be")

    np.testing.assert_allclose(embed(store, precision="f32"), WANTED, rtol=1e-5)


def test_another_network_of_the_same_name_is_not_served_from_the_cache(store, mean_network, tmp_path):
    embed(store, precision="f32")
    store.remove("mine")
    card = Card(name="mine", dim=1, size=OWN_SIZE, margin=0.2, detector="haar", scale=(2.0, 2.0, 2.0))
    import_model(mean_network(tmp_path / "n.xml", [-1, 3, 8, 8]), card, store)

    np.testing.assert_allclose(embed(store, precision="f32"), WANTED / 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"precision": "f8"}, "There is no precision 'f8'"),
        ({"device": "TOASTER"}, "OpenVINO has no device TOASTER here"),
        ({"runtime": "steam"}, "There is no runtime 'steam'"),
        ({"runtime": "tensorflow"}, "mine is not a Keras model"),
    ],
)
def test_a_setting_that_is_not_there_is_said_in_a_sentence(settings, said, store):
    with pytest.raises(ModelError, match=said):
        open_embedder("mine", store=store, **settings)


@pytest.mark.slow
def test_tensorflow_says_which_precision_it_has(model_store):
    with pytest.raises(ModelError, match="TensorFlow does not run resnet50 in bf16"):
        open_embedder("resnet50", store=model_store, runtime="tensorflow", precision="bf16")


OPEN_IN_TENSORFLOW = """
import sys
from pathlib import Path
import numpy as np
from facesearch.embed import open_embedder
from facesearch.models.store import ModelStore
embedder = open_embedder("resnet50", store=ModelStore(Path(sys.argv[1])), runtime="tensorflow")
embedder.embed(np.zeros((1, 224, 224, 3), np.uint8))
"""


@pytest.mark.slow
def test_tensorflow_writes_nothing_to_the_terminal(model_store):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    call = [sys.executable, "-c", OPEN_IN_TENSORFLOW, str(model_store.root)]
    done = subprocess.run(call, capture_output=True, text=True, check=False, env=environment)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["resnet5", "keras/MobilNet"])
def test_an_unknown_name_is_answered_with_those_near_to_it(name, store):
    near = {"resnet5": "resnet50", "keras/MobilNet": "keras/MobileNet"}[name]
    for ask in (
        lambda: open_embedder(name, store=store),
        lambda: card_of(name, store),
        lambda: fetch_model(name, store),
    ):
        with pytest.raises(UnknownModel, match=near) as raised:
            ask()
        assert "facesearch models" in raised.value.hint


def test_the_card_of_a_known_model_needs_no_fetch(tmp_path):
    store = ModelStore(tmp_path / "empty")

    assert [card_of(name, store).name for name in MODELS] == list(MODELS)
    with pytest.raises(UnknownModel, match="not here yet"):
        card_of("keras/MobileNet", store)
    assert not store.root.exists()


_TWO_AT_ONCE = """
import sys, threading
import numpy as np
from pathlib import Path
from facesearch.embed import open_embedder
from facesearch.models.store import ModelStore

embedder = open_embedder("mine", store=ModelStore(Path(sys.argv[1])), streams=2)
ready = threading.Barrier(4)

def embed():
    ready.wait()
    embedder.embed(np.zeros((1, 8, 8, 3), np.uint8))

threads = [threading.Thread(target=embed, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(20)
    if thread.is_alive():
        sys.exit(3)
"""


@pytest.mark.slow
def test_threads_that_embed_for_the_first_time_at_once_do_not_wait_for_each_other_for_ever(store):
    # It took chance: OpenVINO's binding hung in half of the processes that came to its first use so.
    for _ in range(6):
        ran = subprocess.run([sys.executable, "-c", _TWO_AT_ONCE, store.root], timeout=60, check=False)
        assert ran.returncode == 0


_AFFINITIES = """
import os, sys
import numpy as np
from facesearch.embed import open_embedder
from facesearch.models.store import ModelStore
embedder = open_embedder("sface", store=ModelStore(sys.argv[1]))
embedder.embed(np.zeros((4, *embedder.card.size, 3), np.uint8))
print(*{tuple(sorted(os.sched_getaffinity(int(thread)))) for thread in os.listdir("/proc/self/task")})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux' own folder of a process")
def test_no_thread_keeps_to_a_core_since_other_processes_would_keep_to_the_same(model_store):
    command = [sys.executable, "-c", _AFFINITIES, model_store.root]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.split(") (") == [f"{tuple(sorted(os.sched_getaffinity(0)))}\n"], ran.stdout


@pytest.mark.skipif(os.name != "posix", reason="SIGINT is sent")
def test_ctrl_c_is_an_interrupt_after_networks_were_opened_and_dropped(store):
    """Networks with OpenVINO cores of their own left signals a stack that was gone: a segmentation fault."""
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from facesearch.embed import open_embedder\n"
        "from facesearch.models.store import ModelStore\n"
        "store = ModelStore(Path(sys.argv[1]))\n"
        "first, second = (open_embedder('mine', store=store) for _ in range(2))\n"
        "del first\n"
        "del second\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job's is ignored
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, store.root], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done
