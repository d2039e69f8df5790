import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "facesearch").rglob("*.py"))
HEAVY = {"tensorflow", "keras"}


def imported(source):
    """Return the top-level packages that a module's source imports anywhere, by statement or by name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and "import" in ast.unparse(node.func):
            found.update(
                str(argument.value).split(".")[0]
                for argument in node.args
                if isinstance(argument, ast.Constant)
            )
    return found


def test_imports_run_one_way():
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    ran = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_tensorflow_is_imported_by_keras_files_alone(path):
    if not path.name.startswith("keras_"):
        assert not imported(path.read_text(encoding="utf-8")) & HEAVY


def test_the_look_for_imports_finds_every_way():
    for source in (
        "import tensorflow.keras as k",
        "def f():\n    from keras.src import x",
        "import_module('tensorflow')",
        "__import__('keras.layers')",
    ):
        assert imported(source) & HEAVY, source
    assert not imported("import numpy\nname = 'tensorflow'") & HEAVY


def test_some_keras_file_imports_it():
    assert any(imported(path.read_text(encoding="utf-8")) & HEAVY for path in MODULES)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled(path):
    source = path.read_text(encoding="utf-8")
    assert not imported(source) & {"pickle", "shelve", "marshal", "dill", "joblib"}
    assert "allow_pickle=True" not in source
