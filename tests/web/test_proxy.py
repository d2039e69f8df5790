"""Reached from other machines: names, addresses, the token's file, and nginx as the documents set it up."""

import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.browsing import not_here
from support.command import OBAMA, Tool
from support.serving import Served, check_refusal, copy_index

from facesearch.errors import FacesearchError
from facesearch.web.guard import read_token
from facesearch.web.server import Place

DOCUMENT = Path(__file__).parents[2] / "docs" / "page.md"


def knows(place, host):
    return place.door(8765).knows(host)


def test_on_loopback_only_its_own_names_are_known():
    place = Place()
    place.check()
    assert knows(place, "127.0.0.1:8765")
    assert knows(place, "localhost:8765")
    for name in ("127.0.0.1", "photos.example.org", "192.168.1.2:8765", "[::1]:8765", "127.0.0.1:8765:8765"):
        assert not knows(place, name)


def test_further_names_are_known_with_any_port_or_with_their_own():
    place = Place(names=["nas", "Photos.example.org:9000"])
    for name in ("nas", "nas:8765", "nas:80", "photos.example.org:9000", "127.0.0.1:8765"):
        assert knows(place, name), name
    for name in ("nas.attacker.example", "photos.example.org", "photos.example.org:1", "nas:", "nas:x", ""):
        assert not knows(place, name), name


def test_a_base_url_adds_its_name_its_origin_and_its_path():
    place = Place(base_url="https://Photos.example.org/faces/")
    door = place.door(8765)
    assert door.root == f"/faces/{door.token}"
    assert place.address(8765) == "https://Photos.example.org/faces/"
    assert door.knows("photos.example.org")
    assert door.origins("127.0.0.1:8765") == {"http://127.0.0.1:8765", "https://photos.example.org"}
    assert "https://photos.example.org" in door.origins("photos.example.org")
    plain = Place(base_url="http://nas:9000").door(8765)
    assert plain.root == f"/{plain.token}"
    assert plain.origin == "http://nas:9000"


def test_everywhere_numbers_are_known_but_no_foreign_name(tmp_path):
    place = Place(host="0.0.0.0", token_file=tmp_path / "token")
    place.check()
    for name in ("192.168.1.2:8765", "10.0.0.1", "[fe80::1]:8765", "localhost:8765"):
        assert knows(place, name), name
    for name in ("attacker.example", "192.168.1.2.attacker.example", "0x7f.1", "2130706433"):
        assert not knows(place, name), name
    assert place.address(8765) == "http://127.0.0.1:8765/"
    assert Place(host="::", names=["nas"]).address(8765) == "http://nas:8765/"
    assert Place(host="::1").address(8765) == "http://[::1]:8765/"
    assert knows(Place(host="::1"), "[::1]:8765")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "nas", ""])
def test_other_machines_need_a_token_that_lasts(host):
    with pytest.raises(FacesearchError, match="token"):
        Place(host=host).check()


@pytest.mark.parametrize(
    "url",
    ["photos.example.org", "ftp://a/", "https://", "https:///faces/", "https://a@b/", "https://a/?x",
     "https://a/#x", "https://a//b", "https://a/%2e/", "https://a/../", "https://a/b c", 'https://a/"><b>',
     "https://a:x/", "//a/"],
)  # fmt: skip
def test_base_urls_that_are_none(url):
    with pytest.raises(FacesearchError, match="address for pages"):
        Place(base_url=url).check()


@pytest.mark.parametrize("name", ["", "a b", "http://a", "a/b", "a:", "a:x", "*", "[::1", "a\n"])
def test_names_that_are_none(name):
    with pytest.raises(FacesearchError, match="not a name"):
        Place(names=[name]).check()


def test_the_token_is_made_once_and_kept(tmp_path):
    file = tmp_path / "token"
    token = read_token(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 or os.name == "nt"
    assert read_token(file) == token
    assert len(token) >= 22
    file.write_text("  0123456789abcdefghij-_\r\n")
    assert read_token(file) == "0123456789abcdefghij-_"


@pytest.mark.parametrize(
    "content",
    [b"", b"short", b"a" * 129, b"0123456789abcdefghij/..", b"\xff" * 30, b"a" * 11 + b"\n" + b"b" * 11],
)
def test_what_is_no_token(tmp_path, content):
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(FacesearchError, match="does not hold a token"):
        read_token(file)
    with pytest.raises(FacesearchError, match="cannot be"):
        read_token(tmp_path)
    with pytest.raises(FacesearchError, match="cannot be made"):
        read_token(tmp_path / "none" / "token")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--host", "0.0.0.0"], "Add --token-file FILE; it is made if it does not exist."),
        (["--base-url", "nowhere"], "Give --base-url one like https://photos.example.org/faces/."),
        (["--allow-host", "a/b"], "Give one like photos.example.org or nas:8765."),
        (["--token-file", "token", "--host", "192.0.2.1"], "Leave it out to listen on 127.0.0.1."),
        (["--token-file", "album.npz"], "Write 22 to 128 random letters"),
    ],
)
def test_what_serve_refuses(home, args, said):
    done = home.run("serve", "--index", "album.npz", "--port", 0, *args)
    assert done.status == 2
    assert said in done.err
    assert done.out == b""


def test_served_to_other_machines(home):
    """On all addresses, with a token that stays in its file: it is asked by a name that is allowed."""
    args = ["--index", "album.npz", "--host", "0.0.0.0", "--token-file", "token", "--allow-host", "nas"]
    server = Served(home, *args)
    try:
        server.host = "127.0.0.1"  # nobody here knows where "nas" is
        token = (home.folder / "token").read_text().strip()
        assert server.token == ""  # nothing of it is printed
        assert server.ask_plainly(f"/{token}/1/api", Host="nas").status == 200
        assert server.ask_plainly(f"/{token}/1/api", Host=f"127.0.0.1:{server.port}").status == 200
        check_refusal(server.ask_plainly(f"/{token}/1/api", Host="attacker.example"), 421)
        for origin in ("http://nas", "https://nas"):
            posted = server.ask_plainly(f"/{token}/1/group", "POST", b"", Host="nas", Origin=origin)
            assert posted.status == 303, posted
        wrong = server.ask_plainly(f"/{token}/1/group", "POST", b"", Host="nas", Origin="https://other")
        check_refusal(wrong, 403)
    finally:
        status = server.end()
    assert status == 0
    assert server.errors == "The address goes on with what token holds.\nCtrl-C ends it.\n"


def test_a_page_for_those_who_come_without_the_token(server):
    reply = server.ask_plainly("/", Accept="text/html,*/*;q=0.8")
    check_refusal(reply, 404)
    assert reply.headers["content-type"].startswith("text/html")
    assert "the whole address" in reply.text
    assert server.token not in reply.text
    assert "sha256-" in reply.headers["content-security-policy"]
    plain = server.ask_plainly("/", Accept="*/*")
    assert plain.headers["content-type"].startswith("text/plain")


# nginx, as the documents set it up.


@pytest.fixture(scope="module")
def behind(album, tmp_path_factory, model_store):
    """A server with nginx in front of it, which is set up by the documents' own lines; yields the address."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None or shutil.which("openssl") is None:
        not_here("nginx or openssl is not installed")
    folder = tmp_path_factory.mktemp("proxy")
    copy_index(album, folder)
    make_certificate(folder)
    port, inner = free_port(), free_port()
    base = f"https://localhost:{port}/faces/"
    args = ["--index", "album.npz", "--port", inner, "--base-url", base, "--token-file", "token"]
    server = Served(Tool(folder, model_store.root), *args)
    assert server.address == base
    proxy = subprocess.Popen(
        [program, "-p", folder, "-c", write_settings(folder, port, inner), "-e", "stderr"]
    )
    try:
        wait_for(port)
        yield Behind(folder, f"{base}{(folder / 'token').read_text().strip()}/", server)
    finally:
        proxy.send_signal(signal.SIGTERM)
        proxy.wait(20)
        status = server.end()
    assert status == 0, server.errors


@dataclass
class Behind:
    """The folder with the certificate, the whole address behind the proxy, and the server."""

    folder: Path
    address: str
    server: Served

    def ask(self, path, data=None, **headers):
        trusted = ssl.create_default_context(cafile=self.folder / "server.pem")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.address + path, data, named)
        with urllib.request.urlopen(request, context=trusted, timeout=60) as answer:
            return answer.geturl(), answer.headers, answer.read()


def write_settings(folder, port, inner):
    """Write the documents' example for nginx, with this folder's certificate and these ports."""
    (server,) = re.findall(r"```nginx\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    for old, new in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("127.0.0.1:8765", f"127.0.0.1:{inner}"),
        ("/etc/ssl/photos.example.org", f"{folder}/server"),
    ):
        assert old in server
        server = server.replace(old, new)
    user = "user root;" if os.geteuid() == 0 else ""
    kept = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{name}_temp_path {folder}/{name};\n" for name in kept)
    settings = folder / "nginx.conf"
    settings.write_text(
        f"daemon off; {user} pid {folder}/nginx.pid;\nevents {{}}\n"
        f"http {{ access_log {folder}/access.log;\n{places}{server}}}\n"
    )
    return settings


def make_certificate(folder):
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", folder / "server.key", "-out", folder / "server.pem"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names, *files]
    subprocess.run(command, check=True, capture_output=True)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("nginx does not listen")


@pytest.mark.slow
def test_pages_pictures_and_redirects_behind_nginx(behind):
    place, headers, page = behind.ask("")
    assert place == f"{behind.address}1/"  # the redirect stays behind the proxy, below its prefix
    assert headers["content-security-policy"].startswith("default-src 'none'")
    addresses = set(re.findall(r'(?:src|href|action)="([^"#]+)"', page.decode()))
    prefix = urlsplit(behind.address).path
    assert any(address.endswith(".jpg") for address in addresses)
    assert all(address.startswith(prefix) for address in addresses), addresses
    for address in addresses:
        if not address.endswith(("/group", "/undo")):
            assert behind.ask(address.removeprefix(prefix))[2]
    assert not (behind.folder / "access.log").exists() or not (behind.folder / "access.log").read_text()


@pytest.mark.slow
def test_forms_behind_nginx(behind):
    own = "/".join(behind.address.split("/")[:3])
    place, _, page = behind.ask("1/person/1/name", b"name=Ada", Origin=own)
    assert place.startswith(f"{behind.address}1/person/1?did=")
    assert "Ada" in page.decode()
    for origin in ("https://attacker.example", "https://localhost", "null"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            behind.ask("1/person/1/name", b"name=Eve", Origin=origin)


@pytest.mark.slow
def test_queries_behind_nginx(behind):
    tool = behind.server.tool
    trusted = {"SSL_CERT_FILE": str(behind.folder / "server.pem")}
    found = tool.run("query", OBAMA, "--server", behind.address, "--top", 2, env=trusted)
    alone = tool.run("query", OBAMA, "--index", "album.npz", "--top", 2)
    assert found.status == 0, found
    assert found.out == alone.out
    wrong = tool.run("query", OBAMA, "--server", behind.address)
    assert wrong.status == 2
    assert "certificate" in wrong.err.lower()


@pytest.mark.slow
def test_the_proxys_own_answers(behind, tmp_path):
    """What nginx says by itself: the photo is too large; the server is not there."""
    tool = behind.server.tool
    trusted = {"SSL_CERT_FILE": str(behind.folder / "server.pem")}
    large = tmp_path / "large.jpg"
    large.write_bytes(OBAMA.read_bytes() + bytes(65 << 20))
    found = tool.run("query", large, "--server", behind.address, env=trusted)
    assert found.status != 0
    assert "large.jpg" in found.err
    assert "proxy" in found.err


@pytest.mark.slow
def test_a_browser_behind_nginx(behind, browser):
    context = browser.new_context(ignore_https_errors=True)
    try:
        page = context.new_page()
        page.goto(behind.address)
        page.set_input_files("#photo", OBAMA)
        page.wait_for_url("**/uploads/**")
        assert page.locator(".hits li").count() > 1
        page.goto(f"{behind.address}1/person/2")
        page.fill("#name", "Grace")
        page.click("text=Save")
        page.wait_for_selector(".toast")
        page.click(".toast button")
        page.wait_for_selector("text=The last change was taken back.")
    finally:
        context.close()
