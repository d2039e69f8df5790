"""What others on the machine, and pages of others in the browser, may try at the server's door."""

import os
import re
import stat
import subprocess

import psutil
import pytest
from command import OBAMA

OTHER = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


def check_refusal(reply, *statuses):
    """See that a request was refused: with one of these statuses, in a sentence, and under all headers."""
    assert reply.status in statuses, reply
    for name, value in HEADERS.items():
        assert reply.headers[name] == value
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "*" not in policy
    said = re.sub(r"<[^>]*>", " ", reply.text).strip()
    assert said.rstrip('}" ').endswith(".") or "error" in said or "To the beginning" in said, said
    assert "Traceback" not in reply.text
    assert "/tests/" not in reply.text
    assert "set-cookie" not in reply.headers
    assert "access-control-allow-origin" not in reply.headers


def status_of(answer):
    """Give the status of an answer in bytes."""
    return int(answer.split(b" ", 2)[1])


@pytest.fixture(scope="session")
def digest(server):
    """A photo of the index."""
    matches = server.ask("/1/api/query", "POST", OBAMA.read_bytes()).json["results"][0]["matches"]
    assert matches
    return server.ask("/1/api/people/1").json["faces"][0]["photo"]


# Who asks, and under which name.


def test_without_the_token_nothing_is_answered(server):
    for path in (
        "/",
        "/1/",
        "/api",
        "/style.css",
        "/page.js",
        "/icon.svg",
        "/1/api/people",
        "//",
        "/favicon.ico",
    ):
        check_refusal(server.ask_plainly(path), 404)
    assert server.ask("/style.css").status == 200  # so the test could fail


@pytest.mark.parametrize(
    "change",
    [
        lambda token: OTHER,
        lambda token: token[:-1],
        lambda token: token + "A",
        lambda token: token.swapcase(),
        lambda token: token[::-1],
        lambda token: f" {token}".replace(" ", "%20"),
        lambda token: f"{token}%00",
        lambda token: f"./{token}",
        lambda token: f"x/{token}",
        lambda token: f"/{token}",
        lambda token: f"%2f{token}",
        lambda token: f"..%2f{token}",
        lambda token: f"http://127.0.0.1/{token}",
        lambda token: "%ff%fe",
        lambda token: "",
    ],
)
def test_a_wrong_token(server, change):
    reply = server.ask_plainly(f"/{change(server.token)}/1/api/people")
    check_refusal(reply, 404)
    assert server.token not in reply.text


def test_the_token_elsewhere_than_in_the_path(server):
    token = server.token
    check_refusal(server.ask_plainly(f"/?token={token}"), 404)
    check_refusal(server.ask_plainly(f"/1/?{token}"), 404)
    check_refusal(server.ask_plainly("/1/", Authorization=f"Bearer {token}"), 404)
    check_refusal(server.ask_plainly("/1/", Cookie=f"token={token}"), 404)
    check_refusal(server.ask_plainly("/1/", X_Token=token, Referer=server.address), 404)
    check_refusal(server.ask_plainly("/1/", X_Original_URL=f"/{token}/1/", X_Rewrite_URL=f"/{token}/1/"), 404)
    check_refusal(server.ask_plainly("/1/", X_Forwarded_Prefix=f"/{token}"), 404)


@pytest.mark.parametrize(
    "name",
    ["attacker.example", "127.0.0.1.attacker.example", "localhost.attacker.example", "127.0.0.1", "localhost",
     "127.1:{port}", "2130706433:{port}", "0x7f.1:{port}", "[::1]:{port}", "0.0.0.0:{port}",
     "127.0.0.2:{port}",
     "127.0.0.1:1{port}", "127.0.0.1:{port}.", "localhost.:{port}", "user@127.0.0.1:{port}",
     "127.0.0.1:{port}, attacker.example", "attacker.example:{port}", "\xe4:{port}"],
)  # fmt: skip
def test_another_host_is_dns_rebinding(server, name):
    reply = server.ask("/1/", Host=name.format(port=server.port))
    check_refusal(reply, 421)
    assert "attacker" not in reply.text


def test_its_own_names(server):
    for name in (f"127.0.0.1:{server.port}", f"localhost:{server.port}", f"LocalHost:{server.port}"):
        assert server.ask("/1/api", Host=name).status == 200


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Host: 127.0.0.1:{port}", "Host: attacker.example"],
        ["Host: attacker.example", "Host: 127.0.0.1:{port}"],
        ["Host: 127.0.0.1:{port}", "Host: 127.0.0.1:{port}"],
        ["Host:", "X-Forwarded-Host: 127.0.0.1:{port}"],
        ["Host: attacker.example", "X-Forwarded-Host: 127.0.0.1:{port}", "Forwarded: host=127.0.0.1:{port}"],
        [" Host: 127.0.0.1:{port}"],
        ["Host : 127.0.0.1:{port}"],
        ["Host: attacker.example\n Host: 127.0.0.1:{port}"],
    ],
)
def test_no_host_or_two(server, lines):
    for version in ("HTTP/1.1", "HTTP/1.0"):
        head = [f"GET {server.root}/1/api {version}", "Connection: close"]
        head += [line.format(port=server.port) for line in lines]
        answer = server.send("\r\n".join([*head, "", ""]).encode())
        assert status_of(answer) in (400, 421)
        assert b"content-security-policy" in answer.lower()


def test_an_absolute_address_does_not_stand_for_the_host(server):
    for target in (
        f"http://attacker.example{server.root}/1/api",
        f"http://127.0.0.1:{server.port}{server.root}/1/api",
    ):
        head = f"GET {target} HTTP/1.1\r\nHost: attacker.example\r\nConnection: close\r\n\r\n"
        assert status_of(server.send(head.encode())) == 421


# Pages of others in the same browser.


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://attacker.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://localhost:{port}"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://127.0.0.1:{port}.attacker.example"},
        {"Origin": "http://127.0.0.1:{port}/"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
        {"Sec_Fetch_Site": "same-site", "Origin": "http://127.0.0.1:{port}"},
        {"Sec_Fetch_Site": "anything", "Origin": "http://127.0.0.1:{port}"},
    ],
)
@pytest.mark.parametrize("path", ["/1/person/1/name", "/1/api/people/1/name", "/1/group", "/1/uploads"])
def test_posts_of_other_pages(server, path, headers):
    named = {name: value.format(port=server.port) for name, value in headers.items()}
    check_refusal(server.ask(path, "POST", b"name=Eve", **named), 403)
    assert "Eve" not in server.ask("/1/api/people").text


@pytest.mark.parametrize("mode", ["no-cors", "cors", "same-origin", "websocket"])
def test_pictures_and_scripts_in_other_pages(server, mode):
    reply = server.ask("/page.js", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode=mode)
    check_refusal(reply, 403)
    assert server.ask("/1/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200  # a link


def test_a_preflight_is_not_granted(server):
    reply = server.ask(
        "/1/uploads", "OPTIONS", Origin="https://attacker.example", Access_Control_Request_Method="POST"
    )
    check_refusal(reply, 405)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "BREW", "get"])
def test_other_methods(server, digest, method):
    for path in ("/1/", "/1/person/1/name", f"/1/photo/{digest}.jpg", "/1/api/query"):
        reply = server.ask(path, method, X_Secret="swordfish")
        check_refusal(reply, 405)
        assert "swordfish" not in reply.text


def test_connect(server):
    lines = [f"CONNECT {server.root}/1/ HTTP/1.1", f"Host: {server.host}:{server.port}", "Connection: close"]
    assert status_of(server.send("\r\n".join([*lines, "", ""]).encode())) == 405
    lines = ["CONNECT 127.0.0.1:22 HTTP/1.1", "Host: 127.0.0.1:22", "Connection: close"]
    assert status_of(server.send("\r\n".join([*lines, "", ""]).encode())) == 421


def test_a_get_changes_nothing_and_a_post_is_no_page(server):
    for path in ("/1/person/1/name?name=Eve", "/1/group", "/1/person/1/merge?other=2", "/1/api/query"):
        check_refusal(server.ask(path), 405)
    check_refusal(server.ask("/1/", "POST", b""), 405)
    assert "Eve" not in server.ask("/1/").text


def test_websockets_are_not_spoken(server):
    reply = server.ask("/1/api", Connection="Upgrade", Upgrade="websocket", Sec_WebSocket_Version="13",
                       Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
    assert reply.status == 200  # an ordinary answer


# What is served.

TRAVELS = [
    "../../../../etc/passwd", "..%2f..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%252f..%252fetc%252fpasswd", "..%c0%af..%c0%afetc%c0%afpasswd",
    "..%5c..%5cetc%5cpasswd", "....//....//etc/passwd", "%2fetc%2fpasswd", "/etc/passwd", "//etc/passwd",
    "file:%2f%2f%2fetc%2fpasswd", "etc%2fpasswd%00", "%00", ".", "..", "%2e", "~root", "C:%5cboot.ini",
    "%ff%fe",
    "0" * 32, "f" * 4000, "%F0%9F%98%80", "%3Cscript%3Ealert(1)%3C%2Fscript%3E", "{{7*7}}", "%7B%7B7*7%7D%7D",
    "1%20OR%201=1", "-1", "9" * 5000, "1e9", "٣", "%D9%A3",
]  # fmt: skip


@pytest.mark.parametrize(
    "place",
    ["/{}", "/{}/", "/{}/api", "/1/photo/{}", "/1/photo/{}.jpg", "/1/face/{}/1", "/1/face/{}/1.jpg",
     "/1/face/DIGEST/{}", "/1/face/DIGEST/{}.jpg", "/1/person/{}", "/1/uploads/{}.jpg", "/1/uploads/{}/1",
     "/1/uploads/KEY/{}", "/1/api/people/{}", "/1/api/faces/{}/1/matches", "/1/api/faces/DIGEST/{}/matches"],
)  # fmt: skip
def test_no_path_leads_out(server, digest, place):
    key = server.ask("/1/uploads", "POST", OBAMA.read_bytes()).json["upload"]
    for travel in TRAVELS:
        path = place.format(travel).replace("DIGEST", digest).replace("KEY", key)
        if not path.isascii():
            continue
        reply = server.ask(path)
        check_refusal(reply, 303, 404) if reply.status != 200 else None
        assert reply.status in (303, 404), (path, reply)
        assert b"root:" not in reply.body
        assert b"<script>alert" not in reply.body
        assert b"49" not in reply.body.replace(server.token.encode(), b"")


def test_only_photos_of_the_index_by_their_digest(server, digest, album):
    from facesearch.photos.read import fingerprint

    assert server.ask(f"/1/photo/{digest}.jpg").status == 200
    for wrong in (digest.upper(), digest[:-1], digest + "0", digest[::-1]):
        check_refusal(server.ask(f"/1/photo/{wrong}.jpg"), 404)
    # It lies in the folder and shows no face: it is not among those who are looked for.
    for name in ("coffee.png", "rocket.jpg"):
        other = fingerprint((album / "album" / name).read_bytes()).hex()
        check_refusal(server.ask(f"/1/photo/{other}.jpg"), 404)
    new = album / "album" / "new.jpg"
    new.write_bytes(OBAMA.read_bytes() + b"a little more")
    try:
        check_refusal(server.ask(f"/1/photo/{fingerprint(new.read_bytes()).hex()}.jpg"), 404)
    finally:
        new.unlink()


def test_numbers_that_are_none(server, digest):
    for number in ("0", "999", "-1", "999999999", "1.0", "0x1", "+1", "%201", "1" * 4400):
        check_refusal(server.ask(f"/1/face/{digest}/{number}"), 404)
        check_refusal(server.ask(f"/{number}/" if number != "1" else "/2/"), 404)
        check_refusal(server.ask(f"/1/person/{number}"), 404)
        check_refusal(server.ask(f"/1/api/people/{number}"), 404)
    for page in ("0", "-1", "999999999999", "x", "<b>", "%00"):
        assert server.ask(f"/1/?page={page}").status == 200


ECHOED = "<script>alert(1)</script>\"'&"


def test_nothing_is_echoed_unescaped(server, digest):
    from urllib.parse import quote

    odd = quote(ECHOED, safe="")
    upload = server.ask(f"/1/uploads?name={odd}", "POST", OBAMA.read_bytes()).json
    replies = [
        server.ask(f"/{odd}"),
        server.ask(f"/1/{odd}?x={odd}"),
        server.ask(f"/1/?page={odd}"),
        server.ask(f"/1/photo/{odd}"),
        server.ask_plainly(f"/{odd}"),
        server.ask_plainly(upload["address"]),
        server.ask(f"/1/api/query?top={odd}", "POST", b"x"),
        server.ask("/1/person/1/merge", "POST", f"other={odd}"),
        server.ask(f"/1/face/{digest}/1/name", "POST", b"name="),
        server.ask("/1/", X_Odd=ECHOED, User_Agent=ECHOED, Referer=ECHOED),
        server.ask("/1/", Host=ECHOED.replace('"', "")),
    ]
    for reply in replies:
        assert b"<script>alert" not in reply.body.lower(), reply
        kind = reply.headers["content-type"]
        assert kind.partition(";")[0] in ("text/html", "text/plain", "application/json")
        assert reply.headers["x-content-type-options"] == "nosniff"
    assert b"&lt;script&gt;" in replies[5].body  # so the test could fail
    assert b"&lt;script&gt;" in replies[7].body


@pytest.mark.parametrize("break_", ["%0d%0a", "%0a", "%0d", "%E5%98%8A%E5%98%8D"])
def test_no_header_can_be_slipped_in(server, break_):
    for path in (
        f"/1/person/1{break_}Set-Cookie:a=b",
        f"/1/uploads?name=a{break_}Set-Cookie:a=b",
        f"/{break_}",
    ):
        reply = server.ask(path, "POST" if "uploads" in path else "GET", OBAMA.read_bytes())
        assert "set-cookie" not in reply.headers


def test_every_kind_of_answer_has_all_headers(server, digest):
    upload = server.ask("/1/uploads", "POST", OBAMA.read_bytes())
    kinds = {}
    for reply in [
        upload,
        server.ask("/"), server.ask("/1/"), server.ask("/style.css"), server.ask("/page.js"),
        server.ask("/icon.svg"),
        server.ask("/1/person/1"), server.ask(f"/1/photo/{digest}"), server.ask(f"/1/photo/{digest}.jpg"),
        server.ask(f"/1/face/{digest}/1.jpg"), server.ask(f"/1/uploads/{upload.json['upload']}.jpg"),
        server.ask("/1/api"), server.ask("/api"), server.ask("/nothing"), server.ask_plainly("/"),
        server.ask("/1/api/query", "POST", b""), server.ask("/1/", "HEAD"), server.ask("/1/", "PUT"),
    ]:  # fmt: skip
        kinds.setdefault(reply.status, []).append(reply)
        for name, value in HEADERS.items():
            assert reply.headers.get(name) == value, reply
        assert reply.headers["content-security-policy"].startswith("default-src 'none'; img-src 'self'; ")
        assert reply.headers["cache-control"] in ("no-store", "private, max-age=600")
        assert "server" not in reply.headers
    assert set(kinds) == {200, 201, 303, 404, 405, 422}


# Who listens, and who could read the token.


def test_it_listens_on_loopback_alone(server):
    listening = [
        (one.laddr.ip, one.laddr.port)
        for one in psutil.Process(server.process.pid).net_connections("inet")
        if one.status == psutil.CONN_LISTEN
    ]
    assert listening == [("127.0.0.1", server.port)]


def test_the_token_is_nowhere_that_others_can_read(server):
    process = psutil.Process(server.process.pid)
    assert server.token not in " ".join(process.cmdline())
    assert server.token not in " ".join(child for one in process.children() for child in one.cmdline())
    assert server.token not in server.errors
    for folder in (server.scratch, server.cache, server.tool.folder):
        for place, _, files in os.walk(folder):
            for name in files:
                path = os.path.join(place, name)
                with open(path, "rb") as file:
                    assert server.token.encode() not in file.read() or not others_can_read(path), path


def others_can_read(path):
    return bool(os.stat(path).st_mode & (stat.S_IRGRP | stat.S_IROTH))


def test_two_servers_have_different_tokens_of_192_bits(server):
    assert re.fullmatch(r"[\w-]{32}", server.token)
    script = "import secrets; print(secrets.token_urlsafe(24))"
    assert subprocess.check_output(["python3", "-c", script], text=True).strip() != server.token
