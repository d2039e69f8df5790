import errno
import json
import os
import shutil
import signal
import time
from dataclasses import replace

import pytest

from facesearch.errors import FetchFailed, ModelBroken, ModelError, StorageError, UnknownModel
from facesearch.models.calibration import Calibration, LibraryScale
from facesearch.models.card import NETWORK, ONNX, WEIGHTS, DetectorCard
from facesearch.models.store import CARD, ModelStore


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "models")


def leftovers(store):
    return list((store.root / ".unfinished").iterdir())


def test_a_store_lies_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("FACESEARCH_MODELS", str(tmp_path / "mine"))
    assert ModelStore().root == tmp_path / "mine"

    monkeypatch.delenv("FACESEARCH_MODELS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert ModelStore().root.parts[-2:] == ("facesearch", "models")


def test_a_store_that_is_not_there_holds_no_model_and_is_not_made(store):
    assert store.names() == []
    assert not store.installed("tiny")
    with pytest.raises(UnknownModel, match="tiny is not in"):
        store.card("tiny")
    with pytest.raises(UnknownModel):
        store.remove("tiny")
    assert not store.root.exists()


def test_a_fetched_model_is_there_whole(store, tiny_recipe):
    said = []

    card = store.fetch(tiny_recipe(), notify=said.append)

    assert said == ["Fetching the model tiny from the place given."]
    assert store.names() == ["tiny"]
    assert store.installed("tiny")
    assert store.card("tiny") == store.verify("tiny") == card
    assert card.files[WEIGHTS].size == len(b"weights")
    assert sorted(path.name for path in store.path("tiny").iterdir()) == [CARD, WEIGHTS, NETWORK]
    assert leftovers(store) == []


def test_a_model_that_is_there_is_not_fetched_again(store, tiny_recipe, given):
    card = store.fetch(tiny_recipe())

    assert store.fetch(tiny_recipe(given(error=FetchFailed("not asked")))) == card


def test_the_next_source_is_asked_when_one_fails(store, tiny_recipe, given):
    bad = [given(error=FetchFailed("no way.")), given(error=ModelBroken("other bytes."))]

    store.fetch(tiny_recipe(*bad, given(b"good")))

    assert (store.path("tiny") / WEIGHTS).read_bytes() == b"good"


def test_with_no_source_each_is_named_and_so_is_the_way_by_hand(store, tiny_recipe, given):
    with pytest.raises(FetchFailed) as raised:
        store.fetch(
            tiny_recipe(given(error=FetchFailed("no way.")), given(error=ModelBroken("other bytes.")))
        )

    assert raised.value.message == (
        "The model tiny could not be fetched from any of its sources:"
        "\n  the place given: no way.\n  the place given: other bytes."
    )
    assert raised.value.hint == (
        "Get the file weights by other means and run 'facesearch models import FILE --name tiny'."
    )
    assert store.names() == []
    assert leftovers(store) == []


def damage_card(folder, change):
    data = json.loads((folder / CARD).read_text())
    change(data)
    (folder / CARD).write_text(json.dumps(data))


DAMAGES = {
    "not JSON": lambda folder: (folder / CARD).write_bytes(b"\xff\xfe"),
    "another model's": lambda folder: damage_card(folder, lambda card: card.update(name="other")),
    "no usable dim": lambda folder: damage_card(folder, lambda card: card.update(dim=-1)),
    "network.bin is missing": lambda folder: (folder / WEIGHTS).unlink(),
    "network.bin has 3 bytes where its card says 7": lambda folder: (folder / WEIGHTS).write_bytes(b"wei"),
}


@pytest.mark.parametrize("said", DAMAGES)
def test_damage_that_can_be_seen_at_once_is_seen_at_once(said, store, tiny_recipe):
    store.fetch(tiny_recipe())
    DAMAGES[said](store.path("tiny"))

    with pytest.raises(ModelBroken, match=said) as raised:
        store.card("tiny")
    assert raised.value.hint.startswith("Run 'facesearch models fetch tiny'")


def test_a_card_without_the_weights_is_refused(store, tiny_recipe):
    store.fetch(tiny_recipe())
    damage_card(store.path("tiny"), lambda card: card["files"].pop(WEIGHTS))

    with pytest.raises(ModelBroken, match="another model's"):
        store.card("tiny")


def test_a_changed_byte_is_found_by_verify(store, tiny_recipe):
    store.fetch(tiny_recipe())
    (store.path("tiny") / WEIGHTS).write_bytes(b"wEights")

    store.card("tiny")
    with pytest.raises(ModelBroken, match=r"network\.bin has been changed or damaged"):
        store.verify("tiny")


def test_a_broken_model_is_fetched_again_and_said(store, tiny_recipe):
    store.fetch(tiny_recipe())
    (store.path("tiny") / WEIGHTS).write_bytes(b"wEights")
    said = []

    store.fetch(tiny_recipe(), notify=said.append)

    assert "It is fetched again." in said[0]
    store.verify("tiny")
    assert leftovers(store) == []


def test_a_removed_model_is_gone(store, tiny_recipe):
    store.fetch(tiny_recipe())

    store.remove("tiny")

    assert store.names() == []
    assert leftovers(store) == []


def test_an_installed_model_is_not_replaced(store, tiny_recipe):
    store.fetch(tiny_recipe())

    with pytest.raises(ModelError, match="There is a model tiny already"):
        store.install("tiny", lambda folder: pytest.fail("built"))


def test_a_build_that_fails_leaves_nothing(store, tiny_recipe):
    def fail(folder):
        (folder / NETWORK).write_text("half")
        raise ModelError("No.")

    with pytest.raises(ModelError, match="No"):
        store.install("tiny", fail)
    assert store.names() == []
    assert leftovers(store) == []


MEASURED = Calibration(0.4, 12.5, 5.0, ((1e-4, 0.2), (1.0, 1.9)), "my family", "2026-11-22", own=True)


def test_what_was_measured_of_a_model_is_kept_in_its_card(store, tiny_recipe):
    fetched = store.fetch(tiny_recipe())

    card = store.calibrate("tiny", {"cosine": MEASURED})

    assert card == store.card("tiny") == replace(fetched, calibration={"cosine": MEASURED})
    store.verify("tiny")
    assert leftovers(store) == []


def test_what_was_measured_of_another_metric_stays(store, tiny_recipe):
    store.fetch(tiny_recipe())
    store.calibrate("tiny", {"cosine": MEASURED, "euclidean": MEASURED})
    again = replace(MEASURED, threshold=0.7, data="all my friends")

    store.calibrate("tiny", {"euclidean": again})

    assert store.card("tiny").calibration == {"cosine": MEASURED, "euclidean": again}


def test_what_nearness_means_goes_with_the_calibration_it_was_fitted_with(store, tiny_recipe):
    fetched = store.fetch(tiny_recipe())
    scale = LibraryScale(
        (0.0,) * fetched.dim, 0.1, 0.2, 0.6, ((0.1, -2.0), (1.0, 1.0)), "mine", "2026-11-29", own=True
    )

    assert store.calibrate("tiny", {"cosine": MEASURED}, scale).library == scale
    assert store.card("tiny").library == scale
    assert store.calibrate("tiny", {"cosine": MEASURED}).library is None


def test_the_users_own_figures_outlive_a_fetch_that_mends_the_model(store, tiny_recipe):
    store.fetch(tiny_recipe())
    own = replace(MEASURED, own=True)
    store.calibrate("tiny", {"cosine": own, "euclidean": replace(MEASURED, own=False)})
    weights = store.path("tiny") / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1])

    store.fetch(tiny_recipe())

    assert store.verify("tiny").calibration == {"cosine": own}


def test_figures_that_a_card_cannot_hold_leave_it_as_it_was(store, tiny_recipe):
    fetched = store.fetch(tiny_recipe())

    with pytest.raises(ModelBroken, match="no usable calibration"):
        store.calibrate("tiny", {"cosine": replace(MEASURED, threshold=1e11)})

    assert store.card("tiny") == fetched
    assert leftovers(store) == []


def test_a_folder_that_no_model_can_have_is_passed_over(store, tiny_recipe):
    store.fetch(tiny_recipe())
    stray = store.root / "foo bar"
    stray.mkdir()
    (stray / "card.json").write_text("{}")

    assert store.names() == ["tiny"]


def test_only_a_model_that_is_here_is_calibrated(store, tiny_recipe):
    with pytest.raises(UnknownModel, match="tiny is not in"):
        store.calibrate("tiny", {"cosine": MEASURED})

    store.fetch(tiny_recipe())
    damage_card(store.path("tiny"), lambda card: card.update(dim=-1))
    with pytest.raises(ModelBroken):
        store.calibrate("tiny", {"cosine": MEASURED})
    assert leftovers(store) == []


def test_a_card_that_cannot_be_written_stays_as_it_was(store, tiny_recipe, monkeypatch):
    fetched = store.fetch(tiny_recipe())

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("facesearch.files.os.fsync", full)

    with pytest.raises(StorageError, match="no room left"):
        store.calibrate("tiny", {"cosine": MEASURED})
    assert store.card("tiny") == fetched
    assert leftovers(store) == []


DETECTOR = DetectorCard(name="eyes", licence="MIT", digest="sha256:" + "0" * 64)


@pytest.fixture
def with_both(store, tiny_recipe):
    """A store with a model, tiny, and a detector, eyes."""

    def build(folder):
        (folder / ONNX).write_bytes(b"network")
        return DETECTOR

    store.fetch(tiny_recipe())
    store.install("eyes", build)
    return store


def test_detectors_lie_beside_models(with_both):
    assert with_both.names() == ["eyes", "tiny"]
    card = with_both.detector_card("eyes")
    assert replace(card, files={}) == DETECTOR
    assert set(card.files) == {ONNX}
    assert with_both.stored_card("eyes") == with_both.verify("eyes") == card
    assert with_both.stored_card("tiny") == with_both.card("tiny")


def test_a_detector_is_not_taken_for_a_model(with_both):
    for ask in (with_both.card, lambda name: with_both.calibrate(name, {"cosine": MEASURED})):
        with pytest.raises(ModelError, match="eyes is a detector, and gives no vectors") as raised:
            ask("eyes")
        assert raised.value.hint == "Use it as --detector eyes."
    assert replace(with_both.detector_card("eyes"), files={}) == DETECTOR


def test_a_model_is_not_taken_for_a_detector(with_both):
    with pytest.raises(ModelError, match="tiny is a model, and finds no faces") as raised:
        with_both.detector_card("tiny")
    assert raised.value.hint == "Use it as --model tiny."


def test_a_detectors_card_without_its_network_is_refused(with_both):
    damage_card(with_both.path("eyes"), lambda card: card["files"].pop(ONNX))

    with pytest.raises(ModelBroken, match="another model's"):
        with_both.detector_card("eyes")


def test_a_model_in_a_detectors_place_is_refused(with_both):
    shutil.rmtree(with_both.path("eyes"))
    shutil.copytree(with_both.path("tiny"), with_both.path("eyes"))

    for ask in (with_both.card, with_both.detector_card, with_both.verify):
        with pytest.raises(ModelBroken, match="another model's"):
            ask("eyes")


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "no room left"), (errno.EACCES, "cannot be written"), (errno.EROFS, "cannot be written")],
)
def test_a_disk_that_takes_nothing_is_said_in_a_sentence(number, said, store, tiny_recipe, given):
    with pytest.raises(StorageError, match=said) as raised:
        store.fetch(tiny_recipe(given(error=OSError(number, os.strerror(number)))))
    assert "FACESEARCH_MODELS" in raised.value.hint
    assert leftovers(store) == []


def test_a_store_below_a_file_is_said_in_a_sentence(tmp_path, tiny_recipe):
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageError, match="cannot be written"):
        ModelStore(tmp_path / "file" / "models").fetch(tiny_recipe())


# A process of its own: fetches the tiny model from a source that says when it is asked, then takes its time.
FETCH = """
    import sys, time
    from pathlib import Path
    from conftest import Given, CARD, build_tiny
    from facesearch.errors import FacesearchError
    from facesearch.models.sources import Recipe
    from facesearch.models.store import ModelStore

    class Slow(Given):
        def fetch(self, folder, *, progress):
            (folder / "half").write_bytes(b"half of it")
            with open(sys.argv[2], "a") as asked:
                asked.write("asked\\n")
            time.sleep(float(sys.argv[3]))
            return super().fetch(folder, progress=progress)

    if len(sys.argv) > 4:
        import resource
        sys.dont_write_bytecode = True  # it would be cut short, too
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)
    try:
        recipe = Recipe(CARD, (Slow(b"w" * 50_000),), build_tiny, origin="", by_hand="")
        ModelStore(Path(sys.argv[1])).fetch(recipe, notify=lambda said: print(said, flush=True))
    except FacesearchError as error:
        sys.exit(f"{type(error).__name__}: {error}")
"""


def wait_for(path):
    until = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.slow
def test_two_that_fetch_at_once_end_with_one_model(store, run_python, tmp_path):
    asked = tmp_path / "asked"
    first = run_python(FETCH, store.root, asked, 8)  # as long as the second may take to start
    wait_for(asked)
    second = run_python(FETCH, store.root, asked, 0)

    said = [process.communicate(timeout=60) for process in (first, second)]

    assert [first.returncode, second.returncode] == [0, 0], said
    assert said[1][0] == "Another process is at the model tiny; waiting for it.\n"
    assert asked.read_text() == "asked\n"
    store.verify("tiny")
    assert leftovers(store) == []


def test_a_killed_fetch_leaves_no_model_and_the_next_one_cleans_up(store, run_python, tmp_path, tiny_recipe):
    killed = run_python(FETCH, store.root, tmp_path / "asked", 60)
    wait_for(tmp_path / "asked")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()

    assert store.names() == []
    assert len(leftovers(store)) == 1

    store.fetch(tiny_recipe())

    store.verify("tiny")
    assert leftovers(store) == []


@pytest.mark.slow
def test_killed_at_any_moment_a_store_holds_a_whole_model_or_none(store, run_python, tmp_path):
    for delay in (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6):
        process = run_python(FETCH, store.root, tmp_path / "asked", 0.02)
        time.sleep(delay)
        process.kill()
        process.communicate()
        for name in store.names():
            store.verify(name)
            store.remove(name)

    last = run_python(FETCH, store.root, tmp_path / "asked", 0)
    last.communicate(timeout=30)
    assert last.returncode == 0
    store.verify("tiny")
    assert leftovers(store) == []


def test_a_file_that_may_not_grow_is_said_in_a_sentence(store, run_python, tmp_path):
    process = run_python(FETCH, store.root, tmp_path / "asked", 0, 20_000)

    _, said = process.communicate(timeout=30)

    assert process.returncode == 1
    assert said.startswith("StorageError: There is no room left to store the model in")
    assert store.names() == []
    assert leftovers(store) == []
