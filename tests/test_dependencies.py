"""What the package imports of others is declared in pyproject.toml: as a dependency or in an extra."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Where a package is imported under another name than it is installed by.
IMPORTED_AS = {
    "grpcio": "grpc",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pillow-heif": "pillow_heif",
    "pillow-jxl-plugin": "pillow_jxl",
    "scikit-learn": "sklearn",
}
# TensorFlow brings Keras, of the version that it works with.
BROUGHT_ALONG = {"keras": "tensorflow"}


def declared():
    """Return the import names of all dependencies and of the extras that the package itself uses."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    required = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.M | re.S)[1]
    extras = re.search(r"^\[project\.optional-dependencies\]\n(.*?)^\[", text, re.M | re.S)[1]
    # What the tests and the documentation need, an installed facesearch does not have.
    used = re.sub(r"^(test|docs) = \[\n.*?^\]", "", extras, flags=re.M | re.S)
    names = re.findall(r'"([A-Za-z0-9._-]+)[^"]*"', required + used)
    return {IMPORTED_AS.get(name, name) for name in names}


def imported():
    """Return the packages that facesearch's modules import anywhere, and a module that does."""
    found = {}
    for path in sorted((ROOT / "facesearch").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update({name.name.partition(".")[0]: path for name in node.names})
            elif isinstance(node, ast.ImportFrom):
                found[node.module.partition(".")[0]] = path
    return {
        name: path for name, path in found.items() if name not in {*sys.stdlib_module_names, "facesearch"}
    }


def test_every_package_that_is_imported_is_declared():
    known = declared()
    missing = {
        name: str(path) for name, path in imported().items() if BROUGHT_ALONG.get(name, name) not in known
    }

    assert not missing


@pytest.mark.slow
def test_every_declared_package_is_imported():
    brought = {"ray", "fsspec", "pymilvus"}  # imported by name, when they are used
    assert declared() - {*imported(), *brought} == set()


def test_the_search_finds_packages():
    assert {"numpy", "cv2", "tensorflow", "requests", "starlette", "grpc"} <= {*imported()} & {*declared()}
