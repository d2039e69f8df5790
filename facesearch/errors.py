"""Everything that can go wrong for a user, as one tree.

    FacesearchError
    |- PhotoError            one photo
    |  |- UnreadablePhoto    not there, not a picture, truncated, too large
    |  `- NoFace             a reference without a detected face
    |- ModelError            a model or its files
    |  |- UnknownModel       no such name
    |  |- FetchFailed        no source gave the weights
    |  |- ModelBroken        files that are not what their card says
    |  `- ModelMismatch      two models where there has to be one
    |- IndexFileError        the index file
    |  |- IndexMissing       not there yet
    |  |- IndexBroken        truncated, hostile, not ours
    |  |- IndexFormat        written by a newer facesearch
    |  |- IndexConflict      made with another model or other settings
    |  |- IndexBusy          another process is writing it
    |  `- IndexAway          its server does not answer, or refuses access
    |- PeopleError           people who cannot be told apart, found or named
    |  `- PeopleBroken       the file that stores them
    |- DatasetError          labelled photos that cannot be measured on
    |  `- NoFaceFound        none of them shows a face
    |- TrainingError         a network that cannot be trained, or a run that cannot go on
    `- StorageError          a disk that is full, a folder that cannot be written

Each error is a sentence and, as its hint, the next step. The command line prints both;
nothing below it prints or exits.
"""

from __future__ import annotations


class FacesearchError(Exception):
    """A failure that the user can act on.

    Args:
        message: One sentence that says what is wrong and with what.
        hint: The next step, as a sentence; empty if there is none.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Return what another process rebuilds the error from, whatever a subclass' constructor takes."""
        return _again, (type(self), self.message, self.hint)

    def __str__(self) -> str:
        """Return the sentence and the next step on one line."""
        return f"{self.message} {self.hint}".strip()


def _again(kind: type[FacesearchError], message: str, hint: str) -> FacesearchError:
    error = kind.__new__(kind)
    FacesearchError.__init__(error, message, hint)
    return error


class PhotoError(FacesearchError):
    """Something is wrong with one photo."""


class UnreadablePhoto(PhotoError):
    """A file that cannot be read as a picture."""


class NoFace(PhotoError):
    """A reference without a detected face."""


class ModelError(FacesearchError):
    """Something is wrong with a model or its files."""


class UnknownModel(ModelError):
    """No model of this name is known here."""


class FetchFailed(ModelError):
    """None of a model's sources gave the file."""


class ModelBroken(ModelError):
    """A model's files are not what its card says."""


class ModelMismatch(ModelError):
    """Two different models where one is needed."""


class IndexFileError(FacesearchError):
    """Something is wrong with an index file."""


class IndexMissing(IndexFileError):
    """There is no index yet."""


class IndexBroken(IndexFileError):
    """The file is truncated, inconsistent, or not an index."""


class IndexFormat(IndexFileError):
    """The file was written in a format that this version does not know."""


class IndexConflict(IndexFileError):
    """The index was made with another model or with other settings."""


class IndexBusy(IndexFileError):
    """Another process is writing this index."""


class IndexAway(IndexFileError):
    """The server of an index does not answer, or refuses access."""


class PeopleError(FacesearchError):
    """People who cannot be told apart, found, or named."""


class PeopleBroken(PeopleError):
    """The file that stores people is truncated, inconsistent, or something else."""


class DatasetError(FacesearchError):
    """Labelled photos, or a list of pairs, that cannot be measured on."""


class NoFaceFound(DatasetError):
    """Labelled photos, none of which has a detected face."""


class TrainingError(FacesearchError):
    """A network that cannot be trained, or a run that cannot go on."""


class StorageError(FacesearchError):
    """A disk is full or a folder cannot be written."""
