"""Outputs that people name: written beside their place first, then moved there."""

from __future__ import annotations

import contextlib
import errno
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from facesearch.errors import StorageError


def put(destination: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file; where that fails, one that was there before is left as it was.

    Args:
        destination: The file.
        write: Is given the file, open for bytes, and writes what it holds.

    Raises:
        StorageError: The disk is full, or the folder is not there or cannot be written.
    """
    draft = destination.with_name(f".facesearch-{secrets.token_hex(8)}.tmp")
    try:
        with draft.open("xb") as file:
            write(file)
        draft.replace(destination)
    except OSError as error:
        raise _storage_error(destination, error) from error
    finally:
        # Gone already when all went well; in a folder that is not there or not ours, there is none to remove.
        with contextlib.suppress(OSError):
            draft.unlink()


def _storage_error(destination: Path, error: OSError) -> StorageError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"The disk is full: {destination} was not written.", "Free some space and try again."
        )
    return StorageError(
        f"{destination} cannot be written: {error.strerror or error}.",
        "Name a file in a folder that is there and that you may write to.",
    )
