"""Find the photographs that show a face."""

__version__ = "0.1.0"
