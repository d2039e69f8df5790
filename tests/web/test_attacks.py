"""What other users of the machine, and other pages in the browser, may try."""

import os
import re
import stat
import time

import psutil
import pytest
from support.serving import check_refusal, serving, slow_after, status_of

OTHER = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
# The token, and the name of the server.


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


def test_a_wrong_token(server):
    token = server.token
    for wrong in (
        OTHER,
        token[:-1],
        token + "A",
        token.swapcase(),
        token[::-1],
        f"%20{token}",
        f"{token}%00",
        f"./{token}",
        f"x/{token}",
        f"/{token}",
        f"%2f{token}",
        f"..%2f{token}",
        f"http://127.0.0.1/{token}",
        "%ff%fe",
        "",
    ):
        reply = server.ask_plainly(f"/{wrong}/1/api/people")
        check_refusal(reply, 404)
        assert token not in reply.text, wrong


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
    slow_after(
        4,
        ["attacker.example", "127.0.0.1", "[::1]:{port}", "127.0.0.1:{port}, attacker.example",
         "127.0.0.1.attacker.example", "localhost.attacker.example", "localhost", "127.1:{port}",
         "2130706433:{port}", "0x7f.1:{port}", "0.0.0.0:{port}", "127.0.0.2:{port}", "127.0.0.1:1{port}",
         "127.0.0.1:{port}.", "localhost.:{port}", "user@127.0.0.1:{port}", "attacker.example:{port}",
         "\xe4:{port}"],
    ),
)  # fmt: skip
def test_another_host_is_dns_rebinding(server, name):
    reply = server.ask("/1/", Host=name.format(port=server.port))
    check_refusal(reply, 421)
    assert "attacker" not in reply.text


def test_the_own_names_of_the_server(server):
    for name in (f"127.0.0.1:{server.port}", f"localhost:{server.port}", f"LocalHost:{server.port}"):
        assert server.ask("/1/api", Host=name).status == 200


@pytest.mark.parametrize(
    "lines",
    slow_after(
        3,
        [
            [],
            ["Host: 127.0.0.1:{port}", "Host: attacker.example"],
            ["Host: attacker.example", "Host: 127.0.0.1:{port}"],
            ["Host: 127.0.0.1:{port}", "Host: 127.0.0.1:{port}"],
            ["Host:", "X-Forwarded-Host: 127.0.0.1:{port}"],
            [
                "Host: attacker.example",
                "X-Forwarded-Host: 127.0.0.1:{port}",
                "Forwarded: host=127.0.0.1:{port}",
            ],
            [" Host: 127.0.0.1:{port}"],
            ["Host : 127.0.0.1:{port}"],
            ["Host: attacker.example\n Host: 127.0.0.1:{port}"],
        ],
    ),
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
    slow_after(
        5,
        [
            {"Origin": "https://attacker.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:{port}"},
            {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
            {"Sec_Fetch_Site": "same-site", "Origin": "http://127.0.0.1:{port}"},
            {"Origin": ""},
            {"Origin": "http://127.0.0.1"},
            {"Origin": "http://127.0.0.1:1"},
            {"Origin": "https://127.0.0.1:{port}"},
            {"Origin": "http://127.0.0.1:{port}.attacker.example"},
            {"Origin": "http://127.0.0.1:{port}/"},
            {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
            {"Sec_Fetch_Site": "anything", "Origin": "http://127.0.0.1:{port}"},
        ],
    ),
)
def test_posts_of_other_pages(server, headers):
    named = {name: value.format(port=server.port) for name, value in headers.items()}
    for path in ("/1/person/1/name", "/1/api/people/1/name", "/1/group", "/1/uploads"):
        check_refusal(server.ask(path, "POST", b"name=Eve", **named), 403)
    assert "Eve" not in server.ask("/1/api/people").text


def test_pictures_and_scripts_in_other_pages(server):
    for mode in ("no-cors", "cors", "same-origin", "websocket"):
        check_refusal(server.ask("/page.js", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode=mode), 403)
    assert server.ask("/1/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").status == 200  # a link


def test_a_preflight_is_not_granted(server):
    reply = server.ask(
        "/1/uploads", "OPTIONS", Origin="https://attacker.example", Access_Control_Request_Method="POST"
    )
    check_refusal(reply, 405)


@pytest.mark.parametrize(
    "method", slow_after(2, ["PUT", "TRACE", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "BREW", "get"])
)
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


# Where it listens, and where the token could be read.


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


@pytest.mark.slow
def test_a_browser_that_is_opened_is_not_told_the_token_on_its_command_line(album, tmp_path, model_store):
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\nprintf "%s\\n" "$@" >"$0.told"\ncp -p "${1#file://}" "$0.page"\n')
    browser.chmod(0o700)
    env = {"BROWSER": browser}
    with serving(tmp_path, model_store.root, album / "album.npz", "--open", env=env) as server:
        page = tmp_path / "browser.page"
        wait = time.monotonic() + 10
        while not page.exists() and time.monotonic() < wait:
            time.sleep(0.05)
        time.sleep(0.2)
        assert server.address in page.read_text()
        assert stat.S_IMODE(page.stat().st_mode) == 0o600
        told = (tmp_path / "browser.told").read_text()
        assert told.startswith("file:///")
        assert server.token not in told
        assert len(list(server.scratch.glob("*.html"))) == 1
    assert list(server.scratch.glob("*.html")) == []


def others_can_read(path):
    return bool(os.stat(path).st_mode & (stat.S_IRGRP | stat.S_IROTH))


def test_the_token_has_192_bits(server):
    assert re.fullmatch(r"[\w-]{32}", server.token)


@pytest.mark.slow
def test_two_servers_have_different_tokens(server, changed):
    assert server.token != changed.token
