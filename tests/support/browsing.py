"""A real browser in front of the server, and what is watched while a test uses it."""

import base64
import contextlib
import os
import shutil
from pathlib import Path

import pytest

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 390, "height": 780}
DESKTOP = {"width": 1280, "height": 900}

# JavaScript: returns a DataTransfer with files in it.
_TRANSFER = """(files) => {
  const held = new DataTransfer();
  for (const [name, kind, data] of files) {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    held.items.add(new File([bytes], name, {type: kind}));
  }
  return held;
}"""


def not_here(reason):
    """Skip a test for which something is missing; fail it where CI is set."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}, and CI is set")
    pytest.skip(reason)


@contextlib.contextmanager
def a_browser():
    """Start Chromium until the context ends."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        not_here("playwright is not installed")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        not_here("there is no chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


class Watched:
    """A page of a server; it records everything that must not happen on a page.

    Args:
        browser: Playwright's browser.
        server: The server of the page.
        options: Options of the browser's context.

    Attributes:
        page: Playwright's page.
        allowed: Parts of console lines that a test causes itself.
    """

    def __init__(self, browser, server, **options):
        self.server = server
        self.allowed = []
        self._wrong = []
        self._context = browser.new_context(**{"viewport": DESKTOP, "color_scheme": "light", **options})
        self._context.set_default_timeout(15_000)
        self.page = self._context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self._wrong.append(f"error: {error}"))
        self.page.on("dialog", self._dialog)
        self.page.on("request", self._request)
        self.page.on("popup", lambda page: self._wrong.append(f"window: {page.url}"))
        self.page.on("download", lambda one: self._wrong.append(f"download: {one.url}"))

    def go(self, path="/1/"):
        """Open a path below the token."""
        self.page.goto(self.server.address.rstrip("/") + path)
        return self.page

    def drop(self, *photos, name=None, kind="image/jpeg", event="drop"):
        """Drop files on the page, or paste them."""
        told = []
        for photo in photos:
            data = photo if isinstance(photo, bytes) else Path(photo).read_bytes()
            told.append([name or Path(photo).name, kind, base64.b64encode(data).decode()])
        held = self.page.evaluate_handle(_TRANSFER, told)
        if event == "paste":
            script = (
                "(held) => document.dispatchEvent("
                "new ClipboardEvent('paste', {clipboardData: held, bubbles: true}))"
            )
            self.page.evaluate(script, held)
        else:
            self.page.dispatch_event("body", event, {"dataTransfer": held})

    def shoot(self, name):
        """Save a picture of the page if FACESEARCH_SCREENSHOTS names a folder."""
        folder = os.environ.get("FACESEARCH_SCREENSHOTS")
        if folder:
            self.page.wait_for_load_state("networkidle")
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    def close(self):
        """Close it, and check that nothing happened that must not."""
        self._context.close()
        wrong = [line for line in self._wrong if not any(part in line for part in self.allowed)]
        assert wrong == [], wrong

    def _console(self, message):
        if message.type in ("error", "warning"):
            self._wrong.append(f"{message.type}: {message.text}")

    def _dialog(self, dialog):
        self._wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request):
        if not request.url.startswith(self.server.address):
            self._wrong.append(f"request: {request.url}")
