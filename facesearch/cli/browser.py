"""Open an address in a browser without showing it to the machine's other users."""

from __future__ import annotations

import html
import os
import tempfile
import threading
import webbrowser
from pathlib import Path


def open_in_browser(address: str) -> Path:
    """Open an address that holds a secret.

    A browser's command line can be read by all users of a machine: it is given a file that leads there, which
    is the user's alone.

    Returns:
        The file, which is of no use once the address is of none.
    """
    number, name = tempfile.mkstemp(".html", "facesearch-")  # made with mode 0600
    place = html.escape(address, quote=True)
    page = f'<!doctype html><meta http-equiv="refresh" content="0;url={place}"><a href="{place}">Go on</a>'
    with os.fdopen(number, "w", encoding="utf-8") as file:
        file.write(page)
    # A browser for terminals comes back only when it is left.
    threading.Thread(target=webbrowser.open, args=[Path(name).as_uri()], daemon=True).start()
    return Path(name)
