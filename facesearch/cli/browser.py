"""Open an address in a browser without showing it to the machine's other users."""

from __future__ import annotations

import html
import os
import tempfile
import webbrowser
from pathlib import Path


def open_in_browser(address: str) -> None:
    """Open an address that holds a secret.

    A browser's command line can be read by all users of a machine: it is given a file that leads there, which
    is the user's alone.
    """
    number, name = tempfile.mkstemp(".html", "facesearch-")  # made with mode 0600
    place = html.escape(address, quote=True)
    page = f'<!doctype html><meta http-equiv="refresh" content="0;url={place}"><a href="{place}">Go on</a>'
    with os.fdopen(number, "w", encoding="utf-8") as file:
        file.write(page)
    webbrowser.open(Path(name).as_uri())
