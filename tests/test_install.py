"""facesearch as people install it: a wheel, or a checkout that stays where it is; run from another folder."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*call, cwd, **environment):
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in call],
        cwd=cwd,
        env={**kept, **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def environment(tmp_path):
    """Make an environment without facesearch that borrows the dependencies of this one."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = Path(run(python, "-c", ask, cwd=tmp_path).stdout.strip())
    # A line in a .pth adds the folder, but not what that folder's own .pth files name: an editable install
    # of facesearch over there stays out of sight.
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python


@pytest.mark.slow
def test_it_works_from_another_folder(environment, tmp_path, model_store):
    run(environment, "-m", "pip", "install", "-q", "--no-deps", ROOT, cwd=tmp_path)
    home = run(environment, "-c", "import facesearch; print(facesearch.__file__)", cwd=tmp_path).stdout
    assert home.startswith(str(tmp_path))

    tool = environment.with_name("facesearch" + (".exe" if sys.platform == "win32" else ""))
    photo = ROOT / "samples" / "library" / "grace_hopper.jpg"
    models = str(model_store.root)
    done = run(tool, "index", photo, "--index", "i.npz", cwd=tmp_path, FACESEARCH_MODELS=models)
    assert done.stderr.startswith("1 indexed")
    ask = ["query", photo, "--include-self", "--index", "i.npz", "--html", "a.html"]
    done = run(tool, *ask, cwd=tmp_path, FACESEARCH_MODELS=models)
    assert done.stdout.split("\t")[1:3] == ["1", "0.000000"]
    assert "<style>" in (tmp_path / "a.html").read_text(encoding="utf-8")  # the templates came along


def test_extras_are_named_as_a_checkout_installs_them():
    """No package index serves facesearch, so that `pip install 'facesearch[web]'` would fail."""
    extras = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]\n")[2]
    known = set(re.findall(r"^(\w+) = \[", extras.partition("\n[")[0], re.MULTILINE))
    named = set()
    for file in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "facesearch").rglob("*")]:
        if file.suffix in {".py", ".md", ".html", ".js"}:
            text = file.read_text(encoding="utf-8")
            assert "facesearch[" not in text, file
            named |= set(re.findall(r"pip install [^\n]*'\.\[(\w+)\]'", text))
    assert {"cluster", "ray", "url", "web"} <= named <= known
