"""Photos as files: find them, fingerprint them, decode them upright."""
