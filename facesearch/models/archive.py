"""Archives: single files read out of tar and zip files, and models written and read as one archive.

A model's folder appears whole or not at all: it is built beside its place, flushed, and moved there. Nothing
is unpacked by the names in an archive, so no such name is ever a path.
"""

from __future__ import annotations

import errno
import lzma
import os
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from facesearch.errors import ModelBroken, ModelError, StorageError
from facesearch.files import is_full, replaced, sync_folder
from facesearch.models.card import SLASH, StoredCard, check_digest
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


_CLOSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENOENT})
_HINT = "Free some space, or set FACESEARCH_MODELS to another folder."

_WORK = ".unfinished"
_LOCKS = ".locks"


@contextmanager
def locked(root: Path, name: str, notify: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of one name under a root. A process that has to wait for it says so through `notify`."""
    with storage_errors(root):
        folder = root / _LOCKS
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{_flat(name)}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            notify(f"Another process is at the model {name}; waiting for it.")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def work_folder(root: Path, name: str) -> Iterator[Path]:
    """Yield an empty folder on the root's disk; it is removed at the end, with those of killed processes.

    Only for the holder of `locked(root, name)`: any other such folder was left by a process that died.
    """
    work = root / _WORK
    work.mkdir(exist_ok=True)
    for stale in work.glob(f"{_flat(name)}@*"):
        shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_flat(name)}@", dir=work))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def land(built: Path, place: Path, work: Path) -> None:
    """Move a finished folder to its place, where it replaces an older one.

    Args:
        built: The finished folder, on the disk of `place`.
        place: Where it goes.
        work: The work folder, which takes the older one and is removed later.
    """
    for path in built.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    sync_folder(built)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        place.rename(work / "replaced")
    built.rename(place)
    sync_folder(place.parent)


@contextmanager
def storage_errors(root: Path, hint: str = _HINT) -> Iterator[None]:
    """Turn a full disk or a folder that cannot be written into StorageError."""
    try:
        yield
    except OSError as error:
        if not is_full(error) and error.errno not in _CLOSED:
            raise
        if is_full(error):
            message = f"There is no room left to store the model in {root}."
        else:
            message = f"The folder {root} cannot be written: {error.strerror}."
        raise StorageError(message, hint) from error


def _flat(name: str) -> str:
    return name.replace("/", SLASH)
