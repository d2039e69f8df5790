"""An index as a file."""
