"""Pictures and pages of results; nothing here knows of an index."""
