"""Archives: single files read out of tar and zip files, and models written and read as one archive.

Nothing is unpacked by the names in an archive, so no such name is ever a path.
"""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from facesearch.errors import ModelBroken, ModelError
from facesearch.files import replaced
from facesearch.models.card import SLASH, StoredCard, check_digest
from facesearch.models.install import storage_errors
from facesearch.models.store import CARD, CARD_LIMIT, ModelStore

# What tarfile, gzip, zipfile and zlib raise on what is cut off, damaged, encrypted or no archive at all.
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)

LimitOf = Callable[[str], int]


def read_members(archive: Path, limit_of: LimitOf) -> dict[str, bytes]:
    """Read some members in one pass over the archive.

    Args:
        archive: A .tar, .tgz, .zip or .whl file.
        limit_of: Returns for a member's name the most bytes that it may hold; 0 for a member to skip.

    Raises:
        ModelBroken: The file is not an archive or damaged, or holds a name twice or more bytes than allowed.
    """
    found: dict[str, bytes] = {}
    with _damage_named(archive):
        for name, stream in _open_members(archive, limit_of):
            if name in found:
                raise ModelBroken(f"{archive.name} holds {name} twice.")
            found[name] = stream.read(limit_of(name) + 1)
            if len(found[name]) > limit_of(name):
                raise ModelBroken(f"{name} in {archive.name} is larger than it can be.")
    return found


def read_member(archive: Path, name: str, limit: int) -> bytes:
    """Read one member, as `read_members` does; a missing one is ModelBroken too."""
    found = read_members(archive, lambda other: limit if other == name else 0)
    if name not in found:
        raise ModelBroken(f"{archive.name} holds no {name}.")
    return found[name]


def copy_members(archive: Path, sizes: Mapping[str, int], folder: Path) -> None:
    """Write the members of these names into a folder, under these names.

    Raises:
        ModelBroken: One is missing, of another size, or the archive is damaged.
    """
    missing = dict(sizes)
    with _damage_named(archive):
        for name, stream in _open_members(archive, lambda name: sizes.get(name, -1) + 1):
            written = _copy(stream, folder / name, sizes[name] + 1)
            if missing.pop(name, None) != written:
                raise ModelBroken(f"{name} in {archive.name} is not what its card says.")
    if missing:
        raise ModelBroken(f"{archive.name} holds no {min(missing)}.")


def _copy(stream: IO[bytes], path: Path, limit: int) -> int:
    written = 0
    with path.open("wb") as target:
        while written < limit and (block := stream.read(min(1 << 20, limit - written))):
            written += target.write(block)
    return written


def _open_members(archive: Path, limit_of: LimitOf) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if limit_of(entry.filename):
                    with opened.open(entry) as content:
                        yield entry.filename, content
        return
    # "r|*" reads front to back: a tar is unpacked once however many members are wanted of it.
    with tarfile.open(archive, "r|*") as tar:
        for member in tar:
            # A link's extractfile would follow it; only plain files are read.
            if member.isreg() and limit_of(member.name) and (stream := tar.extractfile(member)):
                yield member.name, stream


@contextmanager
def _damage_named(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise ModelBroken(f"{archive.name} is not a whole archive: {error}.") from error


def export_model(store: ModelStore, name: str, destination: Path) -> Path:
    """Write a model as one archive, which `unpack_model` reads.

    Args:
        store: Where the model is.
        name: The model; its files are verified first.
        destination: The file to write, which must not exist, or a folder for NAME.zip.

    Returns:
        The file that was written.

    Raises:
        UnknownModel: The model is not in the store.
        ModelBroken: The model is damaged.
        ModelError: The file exists.
        StorageError: The disk is full or the folder cannot be written.
    """
    card = store.verify(name)
    target = destination / f"{name.replace('/', SLASH)}.zip" if destination.is_dir() else destination
    if target.exists():
        raise ModelError(f"{target} is there already.", "Name another file, or remove this one first.")
    with (
        storage_errors(target.parent, "Free some space, or name another folder."),
        replaced(target) as stream,
        # Stored, not deflated: weights do not shrink.
        zipfile.ZipFile(stream, "w") as archive,
    ):
        for file in (CARD, *sorted(card.files)):
            archive.write(store.path(name) / file, file)
    return target


def is_exported(file: Path) -> bool:
    """Return whether a file is an archive that `export_model` wrote; a .keras file is a zip too."""
    if not zipfile.is_zipfile(file):
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return CARD in archive.namelist()
    except zipfile.BadZipFile as error:
        raise ModelBroken(f"{file.name} is not a whole archive: {error}.") from error


def unpack_model(archive: Path, folder: Path) -> StoredCard:
    """Extract a model from an archive that `export_model` wrote, and return its card.

    Raises:
        ModelBroken: The archive is damaged, or a file in it is not what its card says.
    """
    card = StoredCard.from_json(read_member(archive, CARD, CARD_LIMIT))
    copy_members(archive, {file: stored.size for file, stored in card.files.items()}, folder)
    for file, stored in card.files.items():
        check_digest(folder / file, f"sha256:{stored.sha256}")
    return card
