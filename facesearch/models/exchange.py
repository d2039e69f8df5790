"""Models carried between machines: one archive with the card and the files that it names."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path

from facesearch.errors import ModelBroken, ModelError
from facesearch.models.archive import copy_members, read_member
from facesearch.models.card import SLASH, StoredCard
from facesearch.models.digest import check_digest
from facesearch.models.landing import storage_errors
from facesearch.models.store import CARD, CARD_LIMIT, ModelStore


def export_model(store: ModelStore, name: str, destination: Path) -> Path:
    """Write a model as one archive that `unpack_model` takes.

    Args:
        store: Where the model lies.
        name: The model; its files are verified first.
        destination: The file to write, which must not be there yet, or a folder for NAME.zip.

    Returns:
        The file that was written.

    Raises:
        UnknownModel: The model is not here.
        ModelBroken: The model is not in order.
        ModelError: There is such a file already.
        StorageError: The disk is full or the folder cannot be written.
    """
    card = store.verify(name)
    target = destination / f"{name.replace('/', SLASH)}.zip" if destination.is_dir() else destination
    if target.exists():
        raise ModelError(f"{target} is there already.", "Name another file, or remove this one first.")
    with storage_errors(target.parent, "Free some space, or name another folder."):
        handle, beside = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            # Stored, not deflated: weights do not shrink.
            with os.fdopen(handle, "wb") as stream, zipfile.ZipFile(stream, "w") as archive:
                for file in (CARD, *sorted(card.files)):
                    archive.write(store.path(name) / file, file)
            Path(beside).replace(target)
        finally:
            Path(beside).unlink(missing_ok=True)
    return target


def is_exported(file: Path) -> bool:
    """Tell whether a file is an archive that `export_model` wrote; a .keras file is a zip too."""
    if not zipfile.is_zipfile(file):
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return CARD in archive.namelist()
    except zipfile.BadZipFile as error:
        raise ModelBroken(f"{file.name} is not a whole archive: {error}.") from error


def unpack_model(archive: Path, folder: Path) -> StoredCard:
    """Take a model out of an archive that `export_model` wrote; give its card.

    Raises:
        ModelBroken: The archive is damaged, or a file in it is not what its card says.
    """
    card = StoredCard.from_json(read_member(archive, CARD, CARD_LIMIT))
    copy_members(archive, {file: stored.size for file, stored in card.files.items()}, folder)
    for file, stored in card.files.items():
        check_digest(folder / file, f"sha256:{stored.sha256}")
    return card
