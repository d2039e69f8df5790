"""Pictures: photos of the index, small, by their content's digest alone; and what was uploaded."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from facesearch.answers import box_as_json
from facesearch.web.api import as_json
from facesearch.web.desk import Desk
from facesearch.web.guard import Refused

LARGE = 1600  # pixels of the longer side
FACE = 240

# Who has the address has the picture: a browser may keep it as long as the page is used.
_KEPT = {"cache-control": "private, max-age=600"}


class Pictures:
    """What is seen on the pages.

    Args:
        desk: What is served.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def photo(self, request: Request) -> Response:
        """Give a photo of the index, upright, as a JPEG."""
        shelf = self._desk.shelf(request)
        snapshot, digest = shelf.now(), request.path_params["digest"]
        photo = snapshot.photo(digest)
        if photo is None:
            raise Refused(HTTPStatus.NOT_FOUND, "The index holds no such photo now.")
        path = snapshot.layout.path(photo)
        return _jpeg(shelf.thumbnails.photo(path, bytes.fromhex(digest), LARGE))

    def face(self, request: Request) -> Response:
        """Give a face of the index as a square JPEG."""
        shelf = self._desk.shelf(request)
        snapshot, digest = shelf.now(), request.path_params["digest"]
        row = self._desk.face(request, snapshot)
        path = snapshot.layout.path(int(snapshot.layout.photo[row]))
        return _jpeg(shelf.thumbnails.face(path, bytes.fromhex(digest), snapshot.layout.box(row), FACE))

    def uploaded(self, request: Request) -> Response:
        """Give a photo that was uploaded."""
        upload = self._desk.uploads.get(request.path_params["key"])
        if upload is None:
            raise Refused(HTTPStatus.NOT_FOUND, "That photo is not at hand any more.")
        return _jpeg(upload.picture)

    async def upload(self, request: Request) -> Response:
        """Take a photo in which a face is looked for, the request's body; say where its faces are shown."""
        shelf = self._desk.shelf(request)
        name = request.query_params.get("name", "")[:200]

        def work(data: bytes) -> Response:
            found = self._desk.look_at(shelf, data, "")
            key = self._desk.uploads.add(found, name, data)
            numbered = enumerate(found.faces, start=1)
            faces = [{"face": number, "box": box_as_json(face.box)} for number, face in numbered]
            place = f"{self._desk.root}/{request.path_params['shelf']}/uploads/{key}/1"
            return as_json({"upload": key, "faces": faces, "address": place}, HTTPStatus.CREATED)

        return await self._desk.with_photo(request, work)


def _jpeg(data: bytes) -> Response:
    return Response(data, media_type="image/jpeg", headers=_KEPT)
