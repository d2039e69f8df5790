"""Find the photographs that show a face.

    cli          one short file a command; parse, call, print
    web          the local page over an index, and its API
    distribute   the pipeline on other machines
    siamese      a Siamese network, trained on the user's own people
    evaluate     how well models tell people apart: labelled photos -> figures and plots
    people       faces grouped into people, their names
    library      an index, its photos and its model: what the commands do, for Python
    compare      some faces -> how far each is from each
    rebuild      embed a library anew beside the index that serves until then
    references   photos of whom to look for -> the faces that are looked for
    model        a model in use: its name, its card, its pipelines
    update       plan -> pipeline -> index, and the report
    search       a question: references -> nearest faces -> matches
    settings     how faces are looked for and how the network is run
    plan         what is on disk, compared with what an index knows
    pipeline     photo -> faces -> crops -> vectors, stages overlapped, memory bounded
    index        what is kept: the arrays, the .npz and its journal, or Milvus
    catalogue    all networks by name
    show         pictures of results
    detect       where the faces are: Haar cascades, YuNet; crops, alignment
    embed        a face as numbers: ResNet-50, SFace, imported networks; OpenVINO, Keras
    models       the model store: cards, sources, fetch, verify, import
    photos       find photos, read them upright, fingerprint them
    ranking      exact nearest rows of a large array
    answers      answers as JSON, there and back
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
    from facesearch.model import Model
    from facesearch.plan import Wanted
    from facesearch.search import Question
    from facesearch.settings import Looking, Runtime
    from facesearch.update import Report

__all__ = [
    "Answer",
    "Answers",
    "Box",
    "Face",
    "FacesearchError",
    "Library",
    "Looking",
    "Match",
    "Model",
    "Question",
    "Report",
    "Runtime",
    "Wanted",
    "__version__",
]

_HOMES = {
    "errors": ("FacesearchError",),
    "faces": ("Box", "Face", "Match"),
    "library": ("Answers", "Library"),
    "model": ("Model",),
    "search": ("Answer", "Question"),
    "settings": ("Looking", "Runtime"),
    "plan": ("Wanted",),
    "update": ("Report",),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"facesearch.{module}"), name)
    raise AttributeError(f"module 'facesearch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
