"""Trainings of seconds, on drawn people: from a folder of photos to a model in the store."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.command import Tool
from support.drawn_people import draw_people, draw_singles, drawn_photo

from facesearch.embed import open_embedder
from facesearch.errors import DatasetError, ModelError, TrainingError, UnknownModel
from facesearch.models.store import ModelStore
from facesearch.siamese.config import TrainingConfig
from facesearch.siamese.data import VectorViews
from facesearch.siamese.features import Listener
from facesearch.siamese.run import HISTORY, STATE, Run
from facesearch.siamese.training import default_run, train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cache")]

# A head on a small backbone is trained in a second; the network from scratch takes as long to be converted.
HEAD = {"base": "soft", "whole": True, "epochs": 6, "rate": 3e-3, "validation": 0.4, "test": 0.4}
CNN = {**HEAD, "base": "cnn", "epochs": 4, "batch": 24, "rate": 2e-3, "validation": 0.2, "test": 0.25}


@pytest.fixture
def teach(people, store, tmp_path):
    """Trains on the drawn people, in a run folder of the test's own."""

    def teach(name="mine", *, folder=people, run="run", of=HEAD, train_options=(), **config):
        config = TrainingConfig(str(folder), name, **{**of, **config})
        return train(config, Run(tmp_path / run), store=store, **dict(train_options))

    return teach


def stop_at(number):
    """Return an on_epoch that is Ctrl-C at the end of an epoch."""

    def on_epoch(state):
        if state.epochs == number:
            raise KeyboardInterrupt

    return on_epoch


def arrays_of(folder):
    """Return a run's arrays but for the history, in which times stand."""
    with np.load(folder / STATE, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if name != "history"}


def history_of(folder):
    """Return what came of the epochs but for their times."""
    rows = json.loads((folder / HISTORY[1]).read_text())
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def parts(result):
    return [part.tolist() for part in (result.split.train, result.split.validation, result.split.test)]


def assert_same_run(one, other):
    first, second = arrays_of(one), arrays_of(other)
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    assert history_of(one) == history_of(other)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """The small network from scratch, trained on drawn people; tests only read what came of it.

    With shadows on them, neither their pixels nor a network that has not learned tells them apart well.
    """
    home = tmp_path_factory.mktemp("scratch")
    folder = draw_people(home / "people", 48, 4, shadow=1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        store, said = ModelStore(home / "models"), []
        config = TrainingConfig(folder, "faces", **CNN)
        result = train(config, Run(home / "run"), store=store, on_epoch=lambda state: said.append(state))
    assert len(said) == 5  # before training, and after each epoch
    return result, store, home, said[-1].history


def test_the_network_from_scratch_tells_people_apart_whom_it_never_saw(scratch):
    result, _, _, history = scratch
    assert [len(part) for part in parts(result)] == [29, 7, 12]
    assert result.figures[0].name == "faces"
    # Chance is a half; other processors give other weights, so this leaves them room.
    assert result.figures[0].verification.accuracy > 0.8
    assert result.figures[0].verification.figures.auc > 0.9
    assert result.at_threshold > 0.75
    # It is what was learned that does it.
    assert history[result.best].auc > history[0].auc + 0.04
    assert (result.photos, result.whole, result.unreadable, result.epochs) == (192, 0, (), 4)
    assert 1 <= result.best <= 4


def test_the_simple_way_stands_beside_it(scratch):
    assert [figures.name for figures in scratch[0].figures] == ["faces", "16x16 grey pixels"]


def test_the_model_is_in_the_store_and_in_the_runs_folder(scratch):
    result, store, home, _ = scratch
    card = store.verify("faces")
    assert card == result.card
    assert (card.metric, card.identity, card.licence) == ("euclidean", True, "yours")
    assert set(card.calibration) == {"cosine", "euclidean"}
    assert all(one.own and "7 validation people of people" in one.data for one in card.calibration.values())
    assert "29 people, 192 photos" in card.measured_on
    assert "seed 0" in card.measured_on
    assert f"{result.figures[0].verification.accuracy:.4f}" in card.measured_on
    assert {"config.json", "history.csv", "history.json", "state.npz", "model"} <= {*os.listdir(home / "run")}
    for file in os.listdir(store.path("faces")):
        assert (home / "run" / "model" / file).read_bytes() == (store.path("faces") / file).read_bytes()
    assert result.run == str(home / "run")


def test_distances_of_the_stored_network_are_symmetric_and_zero_for_a_face_with_itself(scratch):
    _, store, _, _ = scratch
    embedder = open_embedder("faces", store=store, precision="f32")
    height, width = embedder.card.size
    faces = [
        cv2.resize(drawn_photo(person, number), (width, height), interpolation=cv2.INTER_AREA)
        for person in range(4)
        for number in range(2)
    ]
    vectors = embedder.embed(np.stack(faces)).astype(np.float64)
    far = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)

    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 2, atol=1e-4)
    np.testing.assert_array_equal(np.diag(far), 0)
    np.testing.assert_array_equal(far, far.T)
    assert far.max() <= 4.001
    # Both branches are one network: it does not matter in which place a face stands.
    turned = embedder.embed(np.stack(faces[::-1]))[::-1]
    np.testing.assert_allclose(turned, vectors, atol=1e-4)


def test_the_model_is_used_without_tensorflow(scratch):
    _, store, home, _ = scratch
    photos = [home / "people" / "person03" / f"{number}.png" for number in (0, 1)]
    tool = Tool(home, store.root)
    log = home / "log"
    done = tool.run("compare", photos[0], *photos, "--model", "faces", "--json", env={"SPY_LOG": log})

    assert done.status == 0, done
    told = json.loads(done.out)
    distances = [pair["distance"] for pair in told["pairs"]]
    assert distances[0] == pytest.approx(0, abs=1e-3)
    assert distances[1] == distances[2]
    assert all(0 <= distance <= 4 for distance in distances)
    assert all(0 <= pair["probability"] <= 1 for pair in told["pairs"])
    imported = {
        name.partition(".")[0]
        for _, event, name in map(json.loads, log.read_text().splitlines())
        if event == "import"
    }
    assert "openvino" in imported
    assert imported & {"tensorflow", "keras", "openvino_telemetry"} == set()


def test_a_training_that_died_and_goes_on_ends_like_one_that_did_not(scratch, tmp_path, monkeypatch):
    result, _, home, _ = scratch
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    store, run = ModelStore(tmp_path / "models"), Run(tmp_path / "run")
    config = TrainingConfig(str(home / "people"), "again", **CNN)

    def die(state):
        if state.epochs == 2:
            raise MemoryError

    with pytest.raises(MemoryError):
        train(config, run, store=store, on_epoch=die)
    done = train(config, run, store=store, resume=True)

    assert_same_run(run.folder, home / "run")
    assert done.epochs == 4
    assert done.figures[0].verification == result.figures[0].verification
    assert done.card.digest == result.card.digest
    assert store.verify("again") == done.card


def test_a_head_tells_people_apart_and_stands_beside_its_trunk(teach):
    result = teach()
    assert [figures.name for figures in result.figures] == ["mine", "soft alone", "linear discriminant"]
    assert result.figures[0].verification.accuracy > 0.8
    assert result.card.dim <= 48
    assert result.projection.name == "its projection alone"
    assert result.projection.verification.accuracy > 0.75
    assert result.card.licence.startswith("yours; the base's:")


def test_a_head_is_stored_as_it_was_trained(teach, store, people):
    result = teach()
    embedder = open_embedder("mine", store=store, precision="f32")
    paths = sorted(Path(people).rglob("*.png"))
    faces = [cv2.resize(cv2.imread(str(path)), (16, 16), interpolation=cv2.INTER_AREA) for path in paths]
    vectors = embedder.embed(np.stack(faces))
    person = np.repeat(np.arange(16), 5)
    tested = np.isin(person, result.split.test)

    from facesearch.siamese.figures import measure

    again = measure("mine", vectors[tested], person[tested].astype(np.int32), "euclidean")
    wanted = result.figures[0].verification
    assert again.verification.accuracy == pytest.approx(wanted.accuracy, abs=0.02)
    assert again.verification.figures.auc == pytest.approx(wanted.figures.auc, abs=0.01)
    assert result.card.calibration["euclidean"].threshold < 4


def test_where_learning_does_harm_the_start_is_kept(teach, tmp_path):
    result = teach(rate=0.9, epochs=3)
    rows = history_of(tmp_path / "run")
    assert [(row["number"], row["loss"] is None) for row in rows] == [
        (0, True), (1, False), (2, False), (3, False),
    ]  # fmt: skip
    assert max(row["auc"] for row in rows[1:]) < rows[0]["auc"]
    assert result.best == 0
    assert result.figures[0].verification.accuracy == pytest.approx(
        result.projection.verification.accuracy, abs=1e-6
    )


def test_a_run_that_goes_on_does_not_replace_the_model_of_another(teach, store):
    teach("mine", run="a")
    teach("other", run="b", seed=1)
    with pytest.raises(ModelError, match="There is already a model named other"):
        teach("other", run="a", train_options={"resume": True})
    assert store.verify("other").source.endswith("--seed 1")


def test_heads_of_other_people_have_other_digests_though_nothing_was_learned_behind_the_start(teach):
    first, second = teach("a", run="a", rate=0.9, epochs=1), teach("b", run="b", rate=0.9, epochs=1, seed=3)
    assert (first.best, second.best) == (0, 0)
    assert first.card.digest != second.card.digest
    whole = teach("c", run="c", rate=0.9, epochs=1, whole=False)
    assert whole.card.digest != first.card.digest


def test_a_run_goes_on_though_its_model_was_calibrated_since(teach, store):
    made = teach(train_options={"on_epoch": stop_at(2)})
    others = {metric: replace(one, data="others") for metric, one in made.card.calibration.items()}
    store.calibrate("mine", others)
    assert teach(train_options={"resume": True}).epochs == 6


def test_what_a_new_run_in_the_same_folder_did_not_make_it_does_not_replace(teach, store):
    before = teach("old", run="r").card

    def interrupted(state):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        teach("other", run="r", seed=5, train_options={"on_epoch": interrupted})
    with pytest.raises(ModelError, match="There is already a model named old"):
        teach("old", run="r", seed=5, train_options={"resume": True})
    assert store.verify("old") == before


def test_a_base_that_was_trained_on_people_is_said(teach):
    teach("first", run="a")
    said = []
    teach("second", run="b", base="first", train_options={"listener": Listener(said.append)})
    assert any("The base first was itself trained on people" in sentence for sentence in said)


def test_people_who_all_look_the_same_are_said(teach, tmp_path):
    for person in range(8):
        (tmp_path / "alike" / f"p{person}").mkdir(parents=True)
        for number in range(2):
            cv2.imwrite(str(tmp_path / "alike" / f"p{person}" / f"{number}.png"), drawn_photo(0, 0))
    with pytest.raises(DatasetError, match="All faces look the same"):
        teach(folder=tmp_path / "alike")


def test_only_resnet50_can_be_unfrozen(teach):
    with pytest.raises(ModelError, match="Only blocks of resnet50 can be unfrozen, not those of soft"):
        teach(unfreeze=1)


def test_the_same_seed_gives_the_same_figures_and_weights_and_another_seed_another_split(teach, tmp_path):
    first, again, other = teach("a", run="a"), teach("b", run="b"), teach("c", run="c", seed=1)
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert parts(first) == parts(again) != parts(other)
    assert first.card.digest == again.card.digest != other.card.digest
    assert first.figures[0].verification == again.figures[0].verification
    assert first.card.calibration == again.card.calibration


@pytest.mark.parametrize("loss", ["logistic", "supcon", "triplet"])
def test_each_loss_trains(teach, loss):
    assert teach(loss=loss, epochs=3).figures[0].verification.figures.auc > 0.8


def test_ctrl_c_keeps_the_best_so_far_and_stores_it(teach, store, tmp_path):
    said = []
    options = {"on_epoch": stop_at(2), "listener": Listener(said.append)}
    result = teach(train_options=options)
    assert (result.epochs, len(history_of(tmp_path / "run"))) == (2, 3)
    assert said == ["Interrupted after 2 epochs: the best so far is kept."]
    assert store.verify("mine") == result.card
    best = arrays_of(tmp_path / "run")
    rows = history_of(tmp_path / "run")
    assert result.best == max(rows, key=lambda row: (row["auc"], row["accuracy"], row["number"]))["number"]
    assert best["best_0"].shape == best["weights_0"].shape


def test_ctrl_c_before_anything_was_learned_from_scratch_stores_nothing(teach, store, monkeypatch):
    from facesearch.siamese import training
    from facesearch.siamese.keras_training import Trainer

    def interrupted(self, number):
        raise KeyboardInterrupt

    def stored(network, card):
        raise AssertionError("It is stored.")

    monkeypatch.setattr(Trainer, "_over_batches", interrupted)
    monkeypatch.setattr(training, "pixel_network", stored)
    with pytest.raises(KeyboardInterrupt):
        teach(of=CNN)
    assert store.names() == ["soft"]


def test_two_people_are_too_few_for_an_accuracy_and_it_is_not_said_that_training_did_not_help(
    teach, people, tmp_path
):
    from facesearch.cli.output.training import as_table

    for name in sorted(os.listdir(people))[:8]:
        shutil.copytree(os.path.join(people, name), tmp_path / "eight" / name)
    folder = str(tmp_path / "eight")
    result = teach(folder=folder, test=0.25, validation=0.34, epochs=2)
    assert (len(result.split.test), result.figures[0].verification.accuracy) == (2, None)
    assert "0.0 points" not in as_table(result)


def test_a_head_goes_on_where_it_was_interrupted(teach, tmp_path):
    teach("undisturbed", run="undisturbed")
    teach("part", run="part", train_options={"on_epoch": stop_at(3)})
    result = teach("part", run="part", train_options={"resume": True})
    assert_same_run(tmp_path / "undisturbed", tmp_path / "part")
    assert result.epochs == 6


def test_a_run_that_is_done_can_be_gone_on_with_and_is_done(teach, tmp_path):
    first = teach()
    before = arrays_of(tmp_path / "run")
    again = teach("other", train_options={"resume": True})
    assert (again.epochs, again.card.digest) == (first.epochs, first.card.digest)
    for name, array in arrays_of(tmp_path / "run").items():
        np.testing.assert_array_equal(array, before[name])


def test_training_ends_when_it_gets_no_better(teach):
    result = teach(epochs=40, patience=2, rate=1e-7)
    assert 2 <= result.epochs < 40


def test_resume_without_a_run_or_with_another_one_is_refused(teach, store, tmp_path):
    with pytest.raises(TrainingError, match="There is no run to resume"):
        teach(train_options={"resume": True})
    teach()
    with pytest.raises(TrainingError, match="was started with other settings: seed"):
        teach("other", seed=1, train_options={"resume": True})
    with pytest.raises(TrainingError, match="was started with other settings: epochs, margin"):
        teach("other", margin=1.0, epochs=9, train_options={"resume": True})
    assert len(history_of(tmp_path / "run")) == 7
    assert store.names() == ["mine", "soft"]


def test_a_run_of_other_photos_is_not_gone_on_with(teach, people, tmp_path):
    teach("mine")
    shutil.copytree(people, tmp_path / "people")
    (tmp_path / "people" / "person00" / "4.png").unlink()
    with pytest.raises(TrainingError, match="was started with other settings: photos"):
        teach("other", folder=tmp_path / "people", train_options={"resume": True})


def test_the_state_of_another_network_is_refused(teach, tmp_path):
    teach()
    kept = arrays_of(tmp_path / "run")
    kept["weights_0"] = np.zeros((2, 2), np.float32)
    np.savez(tmp_path / "run" / STATE, history=(tmp_path / "run" / HISTORY[1]).read_text(), **kept)
    with pytest.raises(TrainingError, match="The run to resume belongs to another network") as caught:
        teach("other", train_options={"resume": True})
    assert caught.value.hint == "Leave out --resume to start again."


def test_the_best_weights_of_another_network_are_refused(teach, tmp_path):
    teach()
    kept = arrays_of(tmp_path / "run")
    kept["best_0"] = np.zeros((2, 2), np.float32)
    np.savez(tmp_path / "run" / STATE, history=(tmp_path / "run" / HISTORY[1]).read_text(), **kept)
    with pytest.raises(TrainingError):
        teach("other", train_options={"resume": True})


def test_a_name_that_exists_is_kept_unless_it_is_forced(teach, store):
    before = teach().card
    with pytest.raises(ModelError, match="There is already a model named mine") as caught:
        teach(seed=1)
    assert caught.value.hint == "Use another --name, or replace it with --force."
    assert store.verify("mine") == before
    after = teach(seed=1, train_options={"force": True}).card
    assert store.verify("mine") == after != before


def test_a_model_that_is_to_be_replaced_is_there_until_the_new_one_is(teach, store, monkeypatch):
    from facesearch.siamese import training

    before = teach().card

    def broken(*about):
        def build(folder):
            raise ModelError("It cannot be built.")

        return build

    monkeypatch.setattr(training, "head_on_backbone", broken)
    with pytest.raises(ModelError, match="It cannot be built"):
        teach(seed=1, train_options={"force": True})
    assert store.verify("mine") == before


@pytest.mark.parametrize("name", ["resnet50", "sface", "cnn", "yunet", "haar", "keras/VGG16"])
def test_a_name_that_means_something_else_is_refused(teach, name):
    with pytest.raises(ModelError, match=f"The name {name} is taken by a model that comes with facesearch"):
        teach(name, train_options={"force": True})


def test_a_base_that_is_not_known_is_refused(teach):
    with pytest.raises(UnknownModel, match=r"There is no model 'sof'\. Near to it: soft"):
        teach(base="sof")


@pytest.mark.parametrize("changed", [{"margin": float("nan")}, {"loss": "supcon", "margin": 0.0}])
def test_a_loss_that_is_no_number_is_said_and_nothing_is_stored(teach, store, changed):
    with pytest.raises(TrainingError) as caught:
        teach(**changed)
    assert caught.value.message == "The loss became infinite or NaN in the first epoch."
    assert caught.value.hint == "Choose a smaller --rate or another --loss."
    assert store.names() == ["soft"]


@pytest.mark.parametrize("rate", [1e38, float("nan")])
def test_weights_that_are_no_numbers_any_more_are_said(teach, rate):
    with pytest.raises(TrainingError, match="infinite or NaN"):
        teach(rate=rate)


def test_a_loss_that_is_no_number_later_keeps_the_best_before(teach, store, monkeypatch, tmp_path):
    real, broken, said = VectorViews.inputs, [], []
    monkeypatch.setattr(
        VectorViews,
        "inputs",
        lambda self, photo, view: real(self, photo, view) * np.float32(np.nan if broken else 1),
    )

    def notify(sentence):
        said.append(sentence)
        broken.clear()

    def on_epoch(state):
        if state.epochs == 2:
            broken.append(True)

    result = teach(train_options={"on_epoch": on_epoch, "listener": Listener(notify)})

    assert said == [f"The loss became infinite or NaN: training ends here, and epoch {result.best} is kept."]
    assert (result.epochs, store.verify("mine")) == (2, result.card)
    assert all(np.isfinite(array).all() for array in arrays_of(tmp_path / "run").values())


def test_short_memory_halves_the_batches_and_is_said(teach, monkeypatch):
    import tensorflow as tf

    from facesearch.siamese.keras_training import Trainer

    original, said, sizes = Trainer.__init__, [], []

    def build(self, *about):
        original(self, *about)
        step = self._step

        def limited(faces, person):
            sizes.append(len(faces))
            if len(faces) > 15:
                raise tf.errors.ResourceExhaustedError(None, None, "OOM")
            return step(faces, person)

        self._step = limited

    monkeypatch.setattr(Trainer, "__init__", build)

    result = teach(batch=30, epochs=2, train_options={"listener": Listener(said.append)})

    assert said == ["Memory is short: from now on, batches have 15 faces."]
    assert max(sizes[1:]) <= 15
    assert result.epochs == 2


def test_photos_without_a_face_and_those_that_cannot_be_read_are_counted(teach, people, tmp_path):
    folder = tmp_path / "people"
    shutil.copytree(people, folder)
    (folder / "person01" / "5.png").write_bytes(b"no picture")
    (folder / "person02" / "0.png").write_bytes((folder / "person02" / "0.png").read_bytes()[:200])
    result = teach(folder=folder, whole=False, epochs=2)
    assert result.photos == 79
    assert result.whole == 79  # on a drawn pattern there is no face
    assert result.unreadable == (f"{folder}/person01/5.png", f"{folder}/person02/0.png")


def test_people_with_one_photo_are_learned_from_and_said(teach, people, tmp_path):
    folder = tmp_path / "people"
    shutil.copytree(people, folder)
    for person in range(16, 20):
        (folder / f"person{person}").mkdir()
        cv2.imwrite(str(folder / f"person{person}" / "0.png"), drawn_photo(person, 0))
    result = teach(folder=folder, epochs=2)
    assert {16, 17, 18, 19} <= set(result.split.train.tolist())
    assert result.remarks == ("People with one photo, who are only strangers to the others: 4 of 20.",)


def test_a_folder_of_a_person_may_be_a_link(teach, people, tmp_path):
    (tmp_path / "linked").mkdir()
    for name in os.listdir(people):
        (tmp_path / "linked" / name).symlink_to(os.path.join(people, name))
    assert teach(folder=tmp_path / "linked", epochs=1).photos == 80


def test_one_picture_with_two_people_is_used_for_both(teach, people, tmp_path):
    folder = tmp_path / "people"
    shutil.copytree(people, folder)
    shutil.copy(folder / "person01" / "0.png", folder / "person02" / "9.png")
    result = teach(folder=folder, epochs=1)
    assert (result.photos, result.unreadable) == (81, ())


@pytest.mark.parametrize("count", [1, 2, 5])
def test_too_few_people_are_said(teach, people, tmp_path, store, count):
    (tmp_path / "few").mkdir()
    for name in sorted(os.listdir(people))[:count]:
        shutil.copytree(os.path.join(people, name), tmp_path / "few" / name)
    with pytest.raises(DatasetError, match="one person only" if count == 1 else "which is too few"):
        teach(folder=tmp_path / "few")
    assert store.names() == ["soft"]
    assert not (tmp_path / "run").exists()


def test_photos_none_of_which_can_be_read_are_said(teach, tmp_path):
    for person in "abc":
        (tmp_path / "people" / person).mkdir(parents=True)
        for number in (1, 2):
            (tmp_path / "people" / person / f"{number}.jpg").write_bytes(b"%d" % number)
    with pytest.raises(DatasetError, match="None of the photos in"):
        teach(folder=tmp_path / "people")


def test_a_folder_that_is_not_there_is_said(teach, tmp_path):
    with pytest.raises(DatasetError, match="cannot be read: No such file"):
        teach(folder=tmp_path / "nowhere")


@pytest.fixture(scope="module")
def singles(tmp_path_factory):
    return draw_singles(tmp_path_factory.mktemp("singles") / "photos", 24)


def test_people_of_one_photo_are_told_apart_by_its_warps(teach, singles):
    result = teach(folder=singles, single=True, warps=4, epochs=3)
    assert [len(part) for part in parts(result)] == [8, 6, 10]
    assert result.photos == 24
    # All pairs of ten people with four warps of each.
    verification = result.figures[0].verification
    assert (verification.same, verification.different) == (60, 720)
    assert verification.accuracy > 0.65  # turned and moved so far that the backbone alone is near chance
    assert [figures.name for figures in result.figures] == ["mine", "soft alone"]


def test_one_warp_is_too_few_for_people_of_one_photo_and_that_is_said_before_the_training(teach, singles):
    epochs = []
    with pytest.raises(DatasetError, match="warps"):
        teach(folder=singles, single=True, warps=1, train_options={"on_epoch": epochs.append})
    assert epochs == []


def test_one_photo_of_one_person_is_too_little(teach, tmp_path):
    draw_singles(tmp_path / "one", 1)
    with pytest.raises(DatasetError, match="holds only one photo"):
        teach(folder=tmp_path / "one", single=True)


def test_what_was_computed_once_is_not_computed_again(teach, people, tmp_path):
    folder = tmp_path / "people"
    shutil.copytree(people, folder)
    looked_at = []
    for name, number in (("a", 80), ("b", 0)):
        counts = []
        teach(
            name,
            folder=folder,
            epochs=1,
            run=name,
            train_options={"listener": Listener(on_start=counts.append, on_photo=looked_at.append)},
        )
        assert counts == [number]
    assert len(looked_at) == 80


def test_a_damaged_cache_is_made_anew(teach, cache, people, tmp_path):
    folder = tmp_path / "people"
    shutil.copytree(people, folder)
    before = {*cache.rglob("*.npz")}
    teach("a", folder=folder, epochs=1, run="a")
    (made,) = {*cache.rglob("*.npz")} - before
    made.write_bytes(b"no index")
    assert teach("b", folder=folder, epochs=1, run="b").photos == 80


def test_runs_lie_beside_the_models_by_name(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_run("family/mine") == tmp_path / "facesearch" / "runs" / "family=mine"
