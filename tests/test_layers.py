import ast
import subprocess
import sys
from pathlib import Path

import facesearch

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


def test_only_keras_files_import_tensorflow():
    for path in MODULES:
        if not path.name.startswith("keras_"):
            assert not imported(path.read_text(encoding="utf-8")) & HEAVY, path


def test_every_form_of_import_is_found():
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


def test_nothing_is_unpickled():
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        assert not imported(source) & {"pickle", "shelve", "marshal", "dill", "joblib"}, path
        assert "allow_pickle=True" not in source, path


def test_every_public_name_is_at_home_where_the_map_says():
    homes = {name: module for module, names in facesearch._HOMES.items() for name in names}
    assert sorted([*homes, "__version__"]) == facesearch.__all__
    for name, module in homes.items():
        assert getattr(facesearch, name).__module__ == f"facesearch.{module}", name
