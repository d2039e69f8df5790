"""The local page over one or more indexes, and the JSON API under it; an extra: `pip install facesearch[web]`."""
