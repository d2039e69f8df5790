"""Find the photographs that show a face.

    cli          one file a command; parse, call, print
    web          the local page over an index, its API, and the client of `query --server`
    distribute   the pipeline on other machines
    siamese      a Siamese network, trained on the user's own people
    evaluate     how well models tell people apart: labelled photos -> figures and plots
    library      an index, its photos, its model and its people: what the commands do, for Python
    compare      some faces -> how far each is from each
    people       faces grouped into people, and their names
    model        a model in use: its card, its pipelines, the settings that it runs with
    judge        what a distance says of persons, and how good a face is
    plan         the photos that are asked for, compared with those of the index
    update       pipeline -> index, and the report; rebuilding
    search       a question: references -> nearest faces -> matches
    pipeline     photo or film -> faces -> crops -> vectors, stages overlapped, memory bounded
    index        what is kept: the arrays, and the two places for them, an .npz file and Milvus
    cohort       how near strangers come to a face
    show         pictures and pages of results
    tracks       faces followed through a film
    detect       where the faces are: Haar cascades, YuNet; crops, alignment
    embed        a face as numbers: ResNet-50, SFace, imported networks; OpenVINO, Keras
    models       the model store: cards, sources, fetch, verify, import
    photos       find photos, films and RAW files, read them upright, fingerprint them
    ranking      exact nearest rows of a large array
    answer_json  answers as JSON, there and back
    plugins      what other packages add: detectors, embedders, index backends
    paths        paths of every system: what lies within a folder, and how it is spelled
    files        files that are seen whole or not at all, locks
    machine      the processors and the memory that there are
    faces        the nouns
    errors       everything that can go wrong, as one tree

Each line imports only what stands below it. The names of `__all__` are loaded when they are used, so that
`import facesearch` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from facesearch.version import __version__

if TYPE_CHECKING:
    from facesearch.errors import FacesearchError
    from facesearch.faces import Answer, Answers, Box, Face, Match
    from facesearch.library import Library
    from facesearch.model import DetectionSettings, Model, Runtime
    from facesearch.plan import IndexRequest
    from facesearch.search import Question
    from facesearch.update import Report

__all__ = [
    "Answer",
    "Answers",
    "Box",
    "DetectionSettings",
    "Face",
    "FacesearchError",
    "IndexRequest",
    "Library",
    "Match",
    "Model",
    "Question",
    "Report",
    "Runtime",
    "__version__",
]

_HOMES = {
    "errors": ("FacesearchError",),
    "faces": ("Answer", "Answers", "Box", "Face", "Match"),
    "library": ("Library",),
    "model": ("DetectionSettings", "Model", "Runtime"),
    "plan": ("IndexRequest",),
    "search": ("Question",),
    "update": ("Report",),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"facesearch.{module}"), name)
    raise AttributeError(f"module 'facesearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
