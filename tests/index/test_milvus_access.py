"""A Milvus server that wants a password and TLS, and has little room."""

import os
import shutil
import subprocess
from dataclasses import replace

import pytest
from support.command import COMMAND, PACKAGE
from support.fakes import META, looked_at
from support.milvus_server import MilvusServer, why_not

from facesearch.errors import IndexAway, StorageError
from facesearch.faces import Box, Reference
from facesearch.index.backend import open_backend
from facesearch.search import Question, search

pytestmark = pytest.mark.slow

NAMES = ("TOKEN", "USER", "PASSWORD", "CA")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A server that lets in root alone, by TLS alone, and its own certificate."""
    reason = why_not() or ("" if shutil.which("openssl") else "there is no openssl to make a certificate")
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("guarded")
    pem, key = folder / "server.pem", folder / "server.key"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*make, "-keyout", str(key), "-out", str(pem)], check=True, capture_output=True)
    server = MilvusServer(
        folder,
        *("--authorization-enabled", "true", "--tls-mode", "1"),
        *("--server-pem-path", str(pem), "--server-key-path", str(key)),
        # And with little room.
        "--extra-config=quotaAndLimits.limitWriting.diskProtection.diskQuota=1",
    )
    yield server, pem
    server.stop()


@pytest.fixture
def login(monkeypatch):
    monkeypatch.setenv("FACESEARCH_MILVUS_TIMEOUT", "3")

    def login(**given):
        for name in NAMES:
            monkeypatch.delenv(f"FACESEARCH_MILVUS_{name}", raising=False)
        for name, value in given.items():
            monkeypatch.setenv(f"FACESEARCH_MILVUS_{name}", str(value))

    return login


def test_who_has_the_password_is_let_in(guarded, login):
    server, pem = guarded
    url = server.url("secret").replace("milvus://", "milvus+tls://")
    login(USER="root", PASSWORD="Milvus", CA=pem)
    with open_backend(url).writer(META) as writer:
        writer.changes.cover(["/p"])
        writer.add(looked_at("/p/a.jpg"))
        writer.commit()
    login(TOKEN="root:Milvus", CA=pem)
    assert open_backend(url).read().photo_count == 1
    for wrong in ({"USER": "root", "PASSWORD": "wrong"}, {"TOKEN": "nobody"}, {}):
        login(**wrong, CA=pem)
        with pytest.raises(IndexAway) as caught:
            open_backend(url).read()
        assert "refuses the login" in caught.value.message
        assert "FACESEARCH_MILVUS_PASSWORD" in caught.value.hint
        assert "wrong" not in caught.value.message


def test_what_is_not_trusted_is_not_talked_to(guarded):
    server, _ = guarded
    env = {name: value for name, value in os.environ.items() if not name.startswith("FACESEARCH_MILVUS")}
    env.update(FACESEARCH_MILVUS_TIMEOUT="3", FACESEARCH_MILVUS_TOKEN="root:Milvus", PYTHONPATH=str(PACKAGE))
    for url in (server.url("secret"), server.url("secret").replace("milvus://", "milvus+tls://")):
        done = subprocess.run([*COMMAND, "info", "--index", url], env=env, capture_output=True, text=True)
        assert done.returncode == 2
        assert "does not answer" in done.stderr
        assert "milvus+tls://" in done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) == 2, done.stderr  # no chatter of pymilvus or gRPC


def test_a_server_that_is_full_keeps_what_it_has(guarded, login):
    server, pem = guarded
    login(USER="root", PASSWORD="Milvus", CA=pem)
    place = open_backend(server.url("full").replace("milvus://", "milvus+tls://"))
    written = []

    def write():
        for start in range(0, 4000, 400):
            with place.writer(replace(META, dim=2048)) as writer:
                writer.changes.cover(["/p"])
                for number in range(start, start + 400):
                    writer.add(looked_at(f"/p/{number}.jpg", dim=2048))
                    written.append(number)
                writer.commit()

    with pytest.raises(StorageError) as caught:
        write()
    assert "has no room left" in caught.value.message
    assert "Give it more room" in caught.value.hint
    photo = looked_at("/p/7.jpg", dim=2048)
    asked = Reference("/r.jpg", 1, Box(0, 0, 1, 1), photo.vectors[0])
    (answer,) = search(place.searchable(), [asked], Question(top=1))
    assert answer.matches[0].path == "/p/7.jpg"
    assert 256 <= place.read(faces=False).photo_count <= len(written)
