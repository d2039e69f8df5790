"""The place that a name is of."""

from __future__ import annotations

import os
from pathlib import Path

from facesearch.index.file_place import FilePlace
from facesearch.index.place import Place, is_url


def place_of(index: Place | str | os.PathLike[str]) -> Place:
    """Give the place of an index: that of a file by its path, of one in Milvus by its URL.

    Raises:
        FacesearchError: The URL is none of a collection, or pymilvus is not installed.
    """
    if is_url(index):
        from facesearch.index.milvus.place import MilvusPlace

        return MilvusPlace.of(index)
    if isinstance(index, str | os.PathLike):
        return FilePlace(Path(index))
    return index
