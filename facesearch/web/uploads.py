"""Photos that somebody brought to look for a face in them: in memory alone, the last few."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from facesearch.faces import PhotoFaces, Reference
from facesearch.photos.read import decode
from facesearch.show.thumbnails import photo_jpeg

KEPT = 64
SIDE = 1024  # pixels of the longer side of what is shown again


@dataclass(frozen=True, slots=True)
class Upload:
    """A photo that was brought.

    Attributes:
        photo: Its faces and their vectors.
        name: What the file was called.
        width: Of the upright photo.
        height: Of the upright photo.
        picture: JPEG, to show it again.
    """

    photo: PhotoFaces
    name: str
    width: int
    height: int
    picture: bytes

    def reference(self, face: int) -> Reference | None:
        """Give one of its faces as what is looked for; None where there is no face of this number."""
        vectors = self.photo.vectors
        if vectors is None or not 1 <= face <= len(self.photo.faces):
            return None
        return Reference(self.photo.path, face, self.photo.faces[face - 1].box, vectors[face - 1])


class Uploads:
    """The last photos that were brought, each under a name that cannot be guessed."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._uploads: OrderedDict[str, Upload] = OrderedDict()

    def add(self, photo: PhotoFaces, name: str, data: bytes) -> str:
        """Keep a photo; give its name.

        Raises:
            UnreadablePhoto: It is no picture.
        """
        picture = decode(data, side=SIDE)
        upload = Upload(photo, name, picture.width, picture.height, photo_jpeg(picture, SIDE))
        key = secrets.token_urlsafe(9)
        with self._lock:
            self._uploads[key] = upload
            while len(self._uploads) > self._kept:
                self._uploads.popitem(last=False)
        return key

    def get(self, key: str) -> Upload | None:
        """Give a photo by its name; None where it was given up by now, or never there."""
        with self._lock:
            if key in self._uploads:
                self._uploads.move_to_end(key)
            return self._uploads.get(key)
