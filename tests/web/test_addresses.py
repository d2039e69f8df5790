"""Every address shows what is in the index and nothing else, and nothing is sent back unescaped."""

from urllib.parse import quote

import pytest
from support.command import OBAMA
from support.serving import HEADERS, check_refusal, slow_after

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
    slow_after(4, [
     "/{}", "/1/photo/{}.jpg", "/1/uploads/{}/1", "/1/api/faces/{}/1/matches",
     "/{}/", "/{}/api", "/1/photo/{}", "/1/face/{}/1", "/1/face/{}/1.jpg",
     "/1/face/DIGEST/{}", "/1/face/DIGEST/{}.jpg", "/1/person/{}", "/1/uploads/{}.jpg",
     "/1/uploads/KEY/{}", "/1/api/people/{}", "/1/api/faces/DIGEST/{}/matches"]),
)  # fmt: skip
def test_no_path_leads_out_of_the_index(server, digest, place):
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


def test_only_photos_of_the_index_are_shown_by_their_digest(server, digest, album):
    from facesearch.photos.content import fingerprint

    assert server.ask(f"/1/photo/{digest}.jpg").status == 200
    for wrong in (digest.upper(), digest[:-1], digest + "0", digest[::-1]):
        check_refusal(server.ask(f"/1/photo/{wrong}.jpg"), 404)
    # A photo in the folder without a face cannot be shown: nobody can look for it.
    for name in ("coffee.png", "rocket.jpg"):
        other = fingerprint((album / "album" / name).read_bytes()).hex()
        check_refusal(server.ask(f"/1/photo/{other}.jpg"), 404)
    new = album / "album" / "new.jpg"
    new.write_bytes(OBAMA.read_bytes() + b"a little more")
    try:
        check_refusal(server.ask(f"/1/photo/{fingerprint(new.read_bytes()).hex()}.jpg"), 404)
    finally:
        new.unlink()


def test_numbers_that_do_not_exist(server, digest):
    for number in ("0", "999", "-1", "999999999", "1.0", "0x1", "+1", "%201", "1" * 4400):
        check_refusal(server.ask(f"/1/face/{digest}/{number}"), 404)
        check_refusal(server.ask(f"/{number}/" if number != "1" else "/2/"), 404)
        check_refusal(server.ask(f"/1/person/{number}"), 404)
        check_refusal(server.ask(f"/1/api/people/{number}"), 404)
    for page in ("0", "-1", "999999999999", "x", "<b>", "%00"):
        assert server.ask(f"/1/?page={page}").status == 200


def test_no_redirect_leads_to_an_address_without_the_token(server, digest):
    for path in ("/1", "/1/person/1/", "/1/api/", f"/1/photo/{digest}/", "/api/"):
        reply = server.ask(path)
        check_refusal(reply, 404)
        assert "location" not in reply.headers
    assert server.ask("/").headers["location"] == f"{server.root}/1/"


ECHOED = "<script>alert(1)</script>\"'&"


def test_nothing_is_echoed_unescaped(server, digest):
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
        server.ask(f"/1/together?person=1&how={odd}&who={odd}"),
        server.ask(f"/1/uploads/together?face={odd}&left={odd}"),
        server.ask(f"/1/photo/{digest}?of={odd}&face={odd}"),
        server.ask("/1/person/1/download", "POST", f"face={odd}"),
        server.ask("/1/person/1/faces", "POST", f"do={odd}&year={odd}"),
    ]
    for reply in replies:
        assert b"<script>alert" not in reply.body.lower(), reply
        kind = reply.headers["content-type"]
        assert kind.partition(";")[0] in ("text/html", "text/plain", "application/json")
        assert reply.headers["x-content-type-options"] == "nosniff"
    assert b"&lt;script&gt;" in replies[5].body  # so the test could fail
    assert b"&lt;script&gt;" in replies[7].body


@pytest.mark.parametrize("break_", slow_after(1, ["%0d%0a", "%0a", "%0d", "%E5%98%8A%E5%98%8D"]))
def test_no_header_can_be_injected(server, break_):
    for path in (
        f"/1/person/1{break_}Set-Cookie:a=b",
        f"/1/uploads?name=a{break_}Set-Cookie:a=b",
        f"/{break_}",
    ):
        reply = server.ask(path, "POST" if "uploads" in path else "GET", OBAMA.read_bytes())
        assert "set-cookie" not in reply.headers


def test_every_kind_of_answer_has_all_security_headers(server, digest):
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
