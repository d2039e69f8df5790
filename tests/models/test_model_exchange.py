import json
import zipfile

import pytest

from facesearch.errors import ModelBroken, ModelError, StorageError, UnknownModel
from facesearch.models.archive import export_model, is_exported, unpack_model
from facesearch.models.card import NETWORK, WEIGHTS
from facesearch.models.store import CARD, ModelStore


@pytest.fixture
def store(tmp_path, tiny_recipe):
    store = ModelStore(tmp_path / "models")
    store.fetch(tiny_recipe())
    return store


def rewrite(archive, **changes):
    """Write an archive anew with other contents of some members; None leaves one out."""
    with zipfile.ZipFile(archive) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members.update({name.replace("_", "."): data for name, data in changes.items()})
    with zipfile.ZipFile(archive, "w") as new:
        for name, data in members.items():
            if data is not None:
                new.writestr(name, data)
    return archive


def test_an_exported_model_is_the_same_in_another_store(store, tmp_path):
    archive = export_model(store, "tiny", tmp_path)
    other = ModelStore(tmp_path / "other")

    other.install("tiny", lambda folder: unpack_model(archive, folder))

    assert archive == tmp_path / "tiny.zip"
    assert is_exported(archive)
    assert other.verify("tiny") == store.card("tiny")
    for file in (NETWORK, WEIGHTS):
        assert (other.path("tiny") / file).read_bytes() == (store.path("tiny") / file).read_bytes()


def test_a_file_that_is_there_is_not_overwritten(store, tmp_path):
    (tmp_path / "photo.jpg").write_text("dear")

    with pytest.raises(ModelError, match="is there already"):
        export_model(store, "tiny", tmp_path / "photo.jpg")
    assert (tmp_path / "photo.jpg").read_text() == "dear"


def test_a_folder_that_is_not_there_is_said_in_a_sentence(store, tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        export_model(store, "tiny", tmp_path / "none" / "tiny.zip")


def test_only_a_model_in_order_is_exported(store, tmp_path):
    (store.path("tiny") / WEIGHTS).write_bytes(b"wEights")

    with pytest.raises(ModelBroken):
        export_model(store, "tiny", tmp_path)
    with pytest.raises(UnknownModel):
        export_model(store, "other", tmp_path)
    assert not (tmp_path / "tiny.zip").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network_bin": b"wEights"}, r"network\.bin has the sha256"),
        ({"network_bin": b"weightsweights"}, r"network\.bin in tiny\.zip is not what its card says"),
        ({"network_bin": None}, r"holds no network\.bin"),
        ({"card_json": b"{}"}, "a format that this version does not know"),
    ],
)
def test_a_changed_archive_is_refused(changes, said, store, tmp_path):
    archive = rewrite(export_model(store, "tiny", tmp_path), **changes)
    (tmp_path / "into").mkdir()

    with pytest.raises(ModelBroken, match=said):
        unpack_model(archive, tmp_path / "into")


def test_a_card_that_names_a_path_is_refused(store, tmp_path):
    archive = export_model(store, "tiny", tmp_path)
    card = json.loads((store.path("tiny") / CARD).read_text())
    card["files"]["../evil"] = card["files"][WEIGHTS]

    with pytest.raises(ModelBroken, match="no usable files"):
        unpack_model(rewrite(archive, card_json=json.dumps(card)), tmp_path)
    assert not (tmp_path.parent / "evil").exists()


def test_what_is_no_archive_is_none_of_ours(tmp_path):
    (tmp_path / "a").write_text("no zip")
    with zipfile.ZipFile(tmp_path / "b.keras", "w") as archive:
        archive.writestr("config.json", "{}")

    assert not is_exported(tmp_path / "a")
    assert not is_exported(tmp_path / "b.keras")
