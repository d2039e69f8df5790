"""The local page over one or more indexes, and the JSON API under it; needs the extra `web`."""
