"""Fits what nearness in a library means (`LibraryScale`) to folders of people, and says how well it holds.

python tests/benchmarks/library_scale.py [--model sface] FOLDER...

Each folder is a library. With --check, each folder in turn is left out of the fit and measured: how many
strangers a query really has where 1 is expected, and the share of true matches found there. What is printed
at the end, fitted to all folders, is what stands in the model's module.
"""

import argparse
import os
from dataclasses import replace
from datetime import date

import numpy as np

from facesearch.evaluate.dataset import read_people
from facesearch.evaluate.evaluation import NEAR_RATE
from facesearch.evaluate.fitting import LabelledLibrary, fit_library, nearness_of_pairs
from facesearch.evaluate.labelled_faces import find_faces
from facesearch.model import Model
from facesearch.models.calibration import strangers_beside

FIGURES = "%.2f %.3f   %.3f %.3f"


def read(folder, model):
    dataset = read_people(os.path.abspath(folder))
    vectors = find_faces(dataset, model).vectors
    found = np.isfinite(vectors).all(axis=1)
    return LabelledLibrary(vectors[found], dataset.person[found])


def measured(library, scale):
    """Return the strangers and the share of true matches where one stranger is expected, and at 99 %."""
    same, different = nearness_of_pairs(library, scale)
    faces = len(library.person)
    figures = []
    for wanted in (1.0, strangers_beside(0.99)):
        # The table falls with nearness: the least nearness at which no more are expected, by bisection.
        low, high = -20.0, 20.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if scale.strangers_within(middle, faces) <= wanted else (middle, high)
        strangers = 2 * np.searchsorted(different, -high, "right") / faces
        figures += [strangers, np.searchsorted(same, -high, "right") / max(len(same), 1)]
    return tuple(figures)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--model", default="sface")
    parser.add_argument(
        "--check", action="append", default=[], metavar="FOLDER", help="measure on this one too"
    )
    asked = parser.parse_args()
    model = Model(asked.model)
    near = 1 - model.card.calibration["cosine"].stranger_distance(NEAR_RATE)
    libraries = {folder: read(folder, model) for folder in asked.folders}
    about = {"near": near, "date": date.today().isoformat(), "own": False}
    print("library: strangers and share of true matches where 1 stranger is expected, the same at 99 %")
    for folder in libraries:
        others = [one for name, one in libraries.items() if name != folder]
        if others:
            scale = fit_library(others, data="others", **about)
            print(
                f"{folder}, left out: %.2f %.3f   %.3f %.3f" % measured(libraries[folder], scale), flush=True
            )
    scale = fit_library(list(libraries.values()), data=" + ".join(map(os.path.basename, libraries)), **about)
    for folder in [*libraries, *asked.check]:
        library = libraries.get(folder) or read(folder, model)
        print(f"{folder}:", FIGURES % measured(library, scale), flush=True)
    rates = tuple((float(f"{rate:.3g}"), float(f"{limit:.4g}")) for rate, limit in scale.strangers)
    print(replace(scale, strangers=rates))


if __name__ == "__main__":
    main()
