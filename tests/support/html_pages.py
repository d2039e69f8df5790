"""Reads a page as a browser does, so far as a test can say what must be in it."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "input", "hr", "wbr"}
LINKING = {"src", "href", "srcset", "action", "data", "poster", "background"}


class Page(HTMLParser):
    """A parsed page; a page that is not well formed, or that could load or run anything, fails here.

    Attributes:
        tags: All tags with their attributes, in their order.
        text: What a person reads, joined by spaces.
    """

    def __init__(self, html):
        super().__init__()
        self.tags, self._open, self._text = [], [], []
        html.encode("utf-8")
        self.feed(html)
        self.close()
        assert self._open == []
        assert html.startswith("<!doctype html>")
        self.text = " ".join(" ".join(self._text).split())
        self._check(html)

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs), attrs
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("style", "title"):
            self._text.append(data)

    def of(self, tag, **attributes):
        """Return the attributes of all tags of a name that have these attributes."""
        return [
            attrs
            for name, attrs in self.tags
            if name == tag and all(attrs.get(key) == value for key, value in attributes.items())
        ]

    @property
    def classes(self):
        """All classes, as often as they are used."""
        return [name for _, attrs in self.tags for name in (attrs.get("class") or "").split()]

    def _check(self, html):
        assert not {"script", "iframe", "object", "embed", "link", "base", "form"} & {
            tag for tag, _ in self.tags
        }
        assert "<script" not in html.lower()
        assert not [char for char in html if (ord(char) < 32 and char != "\n") or 0x7F <= ord(char) < 0xA0]
        for _, attrs in self.tags:
            assert not [name for name in attrs if name.startswith("on")], attrs
            for name in LINKING & attrs.keys():
                assert attrs[name].startswith(("data:image/", "file:///", "#")), attrs[name][:80]
        assert all(attrs["src"].startswith("data:image/") for attrs in self.of("img"))
        assert all("alt" in attrs for attrs in self.of("img"))
        assert self.of("html") == [{"lang": "en"}]
        assert len(self.of("h1")) == 1
        (policy,) = [attrs["content"] for attrs in self.of("meta") if attrs.get("http-equiv")]
        assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
        assert "@import" not in html
        assert "url(" not in html.split("</style>")[0]
